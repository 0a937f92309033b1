"""The MONAI Label app: tasks over the library, served by its own ASGI module."""
