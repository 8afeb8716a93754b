"""The functions of the public face, by kind; each is composed of primitive ops through `apply`."""
