"""`hansa backup` and `hansa restore`: a folder with the database as it was at one moment, and the files it refers to.

    manifest.json     what is in it, with SHA-256s; written last
    hansa.sqlite3     the database, or hansa.pgdump
    blobs/ab/cd/…     every blob that it has a row of

Both work under another name and rename at the end, so that what a crash leaves is never taken for the whole. Neither
the key that signs sessions nor the sessions are in it: nothing that lasts depends on them, and a backup that gets into
the wrong hands signs nobody in at the server that was backed up. Uploads that were not complete are not in it either:
clients send them again.
"""
