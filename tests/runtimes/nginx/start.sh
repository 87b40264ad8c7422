#!/bin/sh
# nginx before the next service: /one/ID is passed on as /leaf/ID/0. Its own configuration, prefix and files, all below
# SCRATCH; nothing of an nginx that this machine may have is read.
# In: the program, PORT, NEXT, KEEPALIVE (1: connections to the next service are kept), SCRATCH.
set -eu

if [ "${KEEPALIVE:-1}" = 1 ]; then
  upstream='keepalive 64;'
  proxy='proxy_http_version 1.1; proxy_set_header Connection "";'
else
  # nginx's own way: HTTP/1.0, a connection for each request.
  upstream=''
  proxy=''
fi

mkdir -p "$SCRATCH/temp"
cat >"$SCRATCH/nginx.conf" <<CONFIGURATION
daemon off;
worker_processes 2;
user nobody nogroup;
pid $SCRATCH/pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path $SCRATCH/temp/body;
  proxy_temp_path $SCRATCH/temp/proxy;
  fastcgi_temp_path $SCRATCH/temp/fastcgi;
  uwsgi_temp_path $SCRATCH/temp/uwsgi;
  scgi_temp_path $SCRATCH/temp/scgi;
  upstream next { server 127.0.0.1:${NEXT##*:}; $upstream }
  server {
    listen 127.0.0.1:$PORT;
    location = / { return 200 "mid"; }
    location ~ ^/one/([^/]+)\$ { proxy_pass http://next/leaf/\$1/0; $proxy }
  }
}
CONFIGURATION
exec "$1" -p "$SCRATCH" -e stderr -c "$SCRATCH/nginx.conf"
