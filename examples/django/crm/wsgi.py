"""What a WSGI server imports: `waitress-serve --listen 127.0.0.1:8082 crm.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crm.settings")
application = get_wsgi_application()
