#!/bin/sh
# The entry point of the container image. The first argument is a command of the program trade; without arguments, it is
# "worker". An unknown first word is a program to be run, as in "sh" or "psql".
#
# What runs takes the place of this script, so it gets the signals, and its exit status is that of the container.
# A test compares these commands with those of the program.
set -eu

if [ $# -eq 0 ]; then
  set -- worker
fi
case $1 in
  solver | worker | webserver) ;;
  configure | await_migrations | subscribe | unsubscribe | delete_queue | verify_shard_content) ;;
  consume_messages | consume_internal_messages) ;;
  flush_* | fetch_debtor_infos | trigger_transfers | handle_pristine_collectors) ;;
  roll_turns | roll_worker_turns | roll_transfers | scan_*) ;;
  config | currencies | demo | generate | solve | world) ;;
  help | completion | -*) ;;
  *) exec "$@" ;;
esac
exec trade "$@"
