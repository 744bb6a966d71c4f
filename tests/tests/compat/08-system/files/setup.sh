#!/bin/sh
printf '%s|' "$0" | grep -q / && printf '%s\n' "$#" "$@" > /opt/script.txt
