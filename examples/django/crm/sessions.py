"""SESSION_ENGINE: Django's database sessions, which carry the subject in a column of their own.

Django saves with an UPDATE once a session exists, so a request in flight cannot bring a deleted one back.
"""

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions

from crm.models import Session


class SessionStore(DatabaseSessions):
    """See above."""

    @classmethod
    def get_model_class(cls):
        return Session

    def create_model_instance(self, data):
        record = super().create_model_instance(data)
        record.subject = data.get("scim_subject", "")
        return record
