"""What runs the code of functions: at a URL (:mod:`.http`), or as processes of this machine (:mod:`.process`)."""
