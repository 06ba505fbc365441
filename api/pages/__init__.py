"""The Webhook Monitor: HTML pages, rendered here. A page is a client of the API: all that it shows and does is an API
call with the permissions of whoever has signed in."""
