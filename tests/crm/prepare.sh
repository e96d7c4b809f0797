#!/bin/sh
# What the tests marked `crm` need and this Debian machine lacks: packages, npm modules, a Django of its own.
# Nothing is started; modules and Django land in build/crm, which `make clean` removes.
set -eu
cd "$(dirname "$0")/../.."
home=build/crm
mkdir -p "$home"

missing=
need() { # a command or a file, and the package that brings it
    command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing="$missing $2"
}
need node nodejs
need npm npm
need php php-cli
need /usr/share/doc/php-redis php-redis
need /usr/share/doc/php-sqlite3 php-sqlite3
need /usr/share/doc/php-mysql php-mysql
need /usr/share/php/Predis php-nrk-predis
need /usr/share/php/Illuminate php-laravel-framework
need /usr/sbin/mariadbd mariadb-server-core
need mariadb-install-db mariadb-server-core
need my_print_defaults mariadb-client-core
need javac default-jdk-headless
need /usr/share/java/jakarta-servlet-api.jar libjakarta-servlet-api-java
need /usr/share/java/jakarta-annotation-api.jar libjakarta-annotation-api-java
need /usr/share/java/tomcat10-embed-core.jar libtomcat10-embed-java
need /usr/share/java/mariadb-java-client.jar libmariadb-java

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "make test-crm needs Debian, or these by other means:$missing" >&2; exit 1; }
    root=; [ "$(id -u)" = 0 ] || root=sudo
    $root apt-get update -qq
    # shellcheck disable=SC2086 # words are meant
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
fi

# `installed` is written last: only a finished installation counts.
cmp -s tests/crm/package.json "$home/node/installed" || {
    rm -rf "$home/node"
    mkdir -p "$home/node"
    cp tests/crm/package.json "$home/node"
    npm install --prefix "$home/node" --no-package-lock --no-audit --no-fund --loglevel=error
    cp tests/crm/package.json "$home/node/installed"
}
cmp -s examples/django/requirements.txt "$home/django/installed" || {
    .venv/bin/python -m venv --clear "$home/django" 2>/dev/null \
        || .venv/bin/python -m virtualenv --quiet --clear "$home/django"
    "$home/django/bin/python" -m pip install --quiet --disable-pip-version-check -r examples/django/requirements.txt
    cp examples/django/requirements.txt "$home/django/installed"
}
