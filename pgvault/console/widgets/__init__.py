"""The widgets of the screens. Each draws its own lines and sends only those that changed."""
