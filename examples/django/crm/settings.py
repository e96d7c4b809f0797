"""An ordinary small Django site. What connects it to a SCIM server is marked with "scim"."""

import os
from pathlib import Path

SECRET_KEY = os.environ.get("CRM_SECRET_KEY", "an example's key")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "crm.urls"
WSGI_APPLICATION = "crm.wsgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CRM_DATABASE", str(Path(__file__).parents[1] / "crm.db")),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode = WAL"},
    }
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "crm",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "crm.scim.CheckSession",  # scim
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"

SESSION_ENGINE = "crm.sessions"  # scim: Django's own sessions, with a column that says whose they are
SCIM_TENANT = os.environ.get("CRM_TENANT", "default")  # scim: the CRM's tenant there
SCIM_WEBHOOK_SECRET = os.environ.get("CRM_WEBHOOK_SECRET", "")  # scim: the webhook store's secret
FIRST_PASSWORD = os.environ.get("CRM_PASSWORD", "crm-demo")  # stands in for your single sign-on
