"""What screens are made of. Each draws its lines itself and sends only those that changed."""
