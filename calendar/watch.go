package calendar

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Refresh compares what a user's copies say with his server, where a read would: copies that
// are still believed stay as they are, and after an outage the server is left alone. What
// differs [Options.OnChange] is told. It is about the list of calendars, those that are named,
// and, with usual, those that are meant where none is; one that does not exist is passed over.
//
// It returns when to call it again: when the first of the copies is believed no longer. A server
// within this process is not asked, as what changes there is told at once.
func (u *User) Refresh(ctx context.Context, calendars []string, usual bool) (again time.Duration, err error) {
	ttl := u.svc.opts.TTL
	acct, err := u.account(ctx)
	if err != nil || acct.Inside {
		return ttl, err
	}
	l, err := u.calendarsNow(ctx, acct, false)
	if err != nil {
		return ttl, err
	}
	var meant []*collection
	if usual {
		meant = l.usual()
	}
	var failed error
	again = ttl - l.fresh.Age
	for i := range l.all {
		c := &l.all[i]
		if !c.Events || !slices.Contains(calendars, c.ID) && !slices.Contains(meant, c) {
			continue
		}
		_, fresh, err := u.objectsOf(ctx, acct, c, l.versionOf(c), false)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrForbidden): // of this calendar alone
			failed = err
		case err != nil:
			return ttl, err
		case !fresh.Stale:
			again = min(again, ttl-fresh.Age)
		}
	}
	if again <= 0 { // the list is stale
		again = ttl
	}
	return again, failed
}
