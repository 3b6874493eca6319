"""The service: comparing, enrolling and recognising for other programs, over HTTP.

Modules here import the packages of the extra ``serve``; nothing else of mvector imports them but
the command that starts the service.
"""
