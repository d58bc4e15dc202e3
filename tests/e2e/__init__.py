"""The platform on a real Kubernetes: installed by helm, used over public HTTP, broken by kubectl."""
