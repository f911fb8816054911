"""Pictures: previews of images that strangers sent, initials, and QR codes.

Images are decoded in processes of their own (:mod:`workers.images.pool`), which have little memory, little time and no
secrets: what decodes them is large, is written in C, and is shown whatever somebody likes to upload.
"""
