"""The pages for people: rendered here, live by server-sent events, behind the permissions of the API."""
