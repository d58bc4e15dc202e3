"""Releases on a cluster: helm changes them, the Kubernetes API tells how that goes."""
