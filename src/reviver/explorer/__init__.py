"""The explorer: trained runs in one HTML file that works without a server."""
