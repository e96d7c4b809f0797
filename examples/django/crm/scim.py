"""All that the CRM does for the SCIM server: the guard, the login around it, and the webhook that keeps accounts."""

import json

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.views import LoginView
from django.db import connection, transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks import Webhook, WebhookVerificationError

from crm.models import Person
from scim_server.guard import DjangoGuard, Guard, Session, SqlGates

gates = SqlGates(lambda: connection, name=settings.SCIM_TENANT, parameter="%s")
guard = Guard(gates.read, beat=gates.beat)


class CheckSession(DjangoGuard):
    """Middleware: each request's session against the gate."""

    guard = guard

    def identify(self, request):
        """Accounts that the identity provider does not know (a local administrator) are not its to end."""
        subject = request.session.get("scim_subject")
        return Session(subject, request.session["scim_epoch"]) if subject else None

    def refuse(self, request):
        """The session was flushed already."""
        return redirect(settings.LOGIN_URL)


class Login(LoginView):
    """Django's login view with the guard's three calls."""

    def post(self, request, *args, **kwargs):
        """`begin` comes before the password is checked."""
        person = Person.objects.filter(user__username=request.POST.get("username")).first()
        self.subject = person.subject if person else None
        self.epoch = guard.begin(self.subject) if self.subject else 0
        return super().post(request, *args, **kwargs)

    def form_valid(self, form):
        """The session is stored, with its subject, and only then confirmed."""
        login(self.request, form.get_user())
        if self.subject:
            self.request.session.update({"scim_subject": self.subject, "scim_epoch": self.epoch})
            self.request.session.save()
            if not guard.confirm(self.subject, self.epoch):
                logout(self.request)
                form.add_error(None, "This account has been deactivated.")
                return self.form_invalid(form)
        return redirect(self.get_success_url())


@csrf_exempt
@require_POST
def webhook(request):
    """Messages of the SCIM server (Standard Webhooks): accounts come, change and go. Any 2xx settles a message."""
    try:
        Webhook(settings.SCIM_WEBHOOK_SECRET).verify(request.body, request.headers)
    except WebhookVerificationError:
        return HttpResponse(status=401)
    message = json.loads(request.body)
    if message["type"].startswith("user."):
        keep_account(message["type"], message["data"])
    return HttpResponse(status=204)


@transaction.atomic
def keep_account(event, data):
    """The account as the identity provider wants it. The same message may come twice, so nothing is done relatively."""
    if not data.get("externalId"):
        return
    person = Person.objects.select_related("user").filter(subject=data["externalId"]).first()
    gone = event in ("user.deactivated", "user.deleted")
    if person is None:
        if gone:
            return
        user = get_user_model().objects.create_user(data["userName"], password=settings.FIRST_PASSWORD)
        person = Person.objects.create(user=user, subject=data["externalId"])
    user = person.user
    user.username = data["userName"]
    if event != "user.updated":
        user.is_active = not gone and data.get("active", True)
    user.save()
