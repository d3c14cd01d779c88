package calendar

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Query selects events.
type Query struct {
	// Calendars are ids; none means all but hidden ones, birthdays and subscriptions.
	Calendars []string

	// Start and End bound the events' times: dates (the end inclusive), local times in
	// TimeZone, or times with an offset. Six months either side of now by default.
	Start, End string
	TimeZone   string // IANA name; the user's by default

	// Series returns one event for a series, as it is written, and not its occurrences.
	Series bool

	PriorityMinimum int      // focusPriority is at least this
	ADHDCategory    string   // adhdCategory is this, whatever the case
	Tags            []string // one of the categories is one of these, whatever the case

	Limit  int    // 100 by default, at most 500
	Cursor string // where the page before ended
}

// Events are a page of events, by start.
type Events struct {
	Freshness
	Events    []Event
	Cursor    string // of the next page; "" if this is the last
	TimeZone  string // in which local times and days were read
	Truncated bool   // a series has more occurrences than are counted
	Skipped   int    // objects that can't be read

	at []position // of each of the events
}

// Cut leaves the first n events on the page. The cursor then leads to the others.
func (e *Events) Cut(n int) {
	if n < 1 || n >= len(e.Events) {
		return
	}
	e.Events, e.at = e.Events[:n], e.at[:n]
	e.Cursor = e.at[n-1].cursor()
}

const (
	defaultLimit = 100
	maxLimit     = 500
	maxSpan      = 50 * 366 * 24 * time.Hour
)

// ListEvents returns the events that overlap a time range. A calendar that another client
// deleted meanwhile is an ErrNotFound if the query names it, and else left out.
func (u *User) ListEvents(ctx context.Context, q Query) (Events, error) {
	acct, l, cols, err := u.named(ctx, q.Calendars)
	if err != nil {
		return Events{}, err
	}
	s, err := newSearch(l, cols, &q)
	if err != nil {
		return Events{}, err
	}
	out := Events{Freshness: l.fresh, TimeZone: s.zone.String()}
	for _, c := range cols {
		img, fresh, err := u.objectsOf(ctx, acct, c, l.versionOf(c), false)
		if errors.Is(err, ErrNotFound) && len(q.Calendars) == 0 && u.isGone(ctx, acct, c) {
			continue
		}
		if err != nil {
			return Events{}, err
		}
		out.Freshness = out.worse(fresh)
		s.add(c, img)
	}
	out.Events, out.at, out.Cursor = s.run()
	out.Truncated, out.Skipped = s.truncated, s.skipped
	return out, nil
}

// isGone says whether the server's list has a calendar no more that answered with "not
// found". One that is still there is out of order, and its events would be missed.
func (u *User) isGone(ctx context.Context, acct Account, c *collection) bool {
	l, err := u.calendarsNow(ctx, acct, true)
	if err != nil || l.fresh.Stale {
		return false
	}
	_, err = l.find(c.ID)
	return errors.Is(err, ErrNotFound)
}

// named finds calendars by their ids; without any, all that are usually meant. One
// that does not exist is an error, also among others.
func (u *User) named(ctx context.Context, ids []string) (acct Account, l *listing, cols []*collection, err error) {
	if len(ids) == 0 {
		acct, l, err = u.accountAndCalendars(ctx)
		if err != nil {
			return acct, nil, nil, err
		}
		return acct, l, l.usual(), nil
	}
	acct, l, _, err = u.find(ctx, ids[0])
	for _, id := range ids {
		var c *collection
		if err == nil {
			c, err = l.find(id)
		}
		if err != nil {
			return acct, nil, nil, err
		}
		if !slices.Contains(cols, c) {
			cols = append(cols, c)
		}
	}
	return acct, l, cols, nil
}
