environment = "development"
size        = "small"
hosts       = ["flotilla.localhost"]
