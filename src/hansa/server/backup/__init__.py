"""`hansa backup` and `hansa restore`: a folder with the database as it was at one moment, and the files it refers to.

    manifest.json     what is in it, with SHA-256s; written last
    hansa.sqlite3     the database, or hansa.pgdump
    blobs/ab/cd/…     every blob that it has a row of

Both work under another name and rename at the end, so that what a crash leaves is never taken for the whole. The key
that signs sessions is not in it: nothing that lasts depends on it, and a backup that gets into the wrong hands is no
way into the server that was backed up. Uploads that were not complete are not in it either: clients send them again.
"""
