"""What ``realtime dev`` adds to the hub and the API: kept secrets, a demo project, and the page at ``/``."""
