"""The one owner of job state: inbox, transition, commit, dispatch, timers, recovery."""
