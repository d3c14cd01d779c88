package calendar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
)

// storedListing is the content of the copy of the list.
type storedListing struct {
	Source string       `cbor:"1,keyasint"`
	Home   caldav.Home  `cbor:"2,keyasint"`
	All    []collection `cbor:"3,keyasint"`
	Proof  string       `cbor:"4,keyasint,omitempty"` // with which the server was asked last
}

// calendars returns the user's calendars, from the copy while it is believed.
func (u *User) calendars(ctx context.Context) (*listing, error) {
	acct, err := u.account(ctx)
	if err != nil {
		return nil, err
	}
	return u.calendarsNow(ctx, acct, false)
}

// calendarsNow is calendars; ask asks the server even if the copy is believed.
func (u *User) calendarsNow(ctx context.Context, acct Account, ask bool) (*listing, error) {
	settings, err := u.Settings(ctx)
	if err != nil {
		return nil, err
	}
	head, stored, err := u.loadListing(ctx, acct.Source)
	if err != nil {
		return nil, err
	}
	var l *listing
	switch {
	case stored != nil && !ask && !acct.AlwaysCheck && stored.Proof == acct.Proof && fresh(head.Checked, u.svc.opts.TTL):
		// Every read begins with the list: a credential that it was not checked with is tried here.
		l = &listing{home: stored.Home, all: stored.All, fresh: Freshness{Age: age(head.Checked)}}
	case stored != nil && u.svc.outages.now(u.id):
		l = &listing{home: stored.Home, all: stored.All, fresh: Freshness{Stale: true, Age: age(head.Checked)}}
	case acct.AlwaysCheck:
		// Asked by each reader, so that none gets an answer from before its question.
		l, err = u.fetchListing(ctx, acct)
	default:
		l, err = u.svc.listings.do(ctx, u.id+"\x00"+acct.Source+"\x00"+acct.Proof, func(ctx context.Context) (*listing, error) {
			if stored != nil {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, u.svc.opts.Patience)
				defer cancel()
			}
			return u.fetchListing(ctx, acct)
		})
	}
	if err != nil && isOutage(err) && ctx.Err() == nil {
		u.svc.outages.note(u.id, time.Now().Add(u.svc.opts.OutagePause))
		if stored != nil {
			l, err = &listing{home: stored.Home, all: stored.All, fresh: Freshness{Stale: true, Age: age(head.Checked)}}, nil
		}
	}
	if err != nil {
		return nil, explain("The user's calendar home", err)
	}
	own := *l // a flight's result is shared
	own.all = slices.Clone(l.all)
	own.settings, own.server, own.origin = settings, u.svc.opts.TimeZone, acct.Client.Origin()
	if acct.Inside {
		own.origin = ""
	}
	return &own, nil
}

func (u *User) loadListing(ctx context.Context, source string) (calcache.Copy, *storedListing, error) {
	for range 4 {
		head, err := u.head(ctx, listKey)
		if err != nil || head.Version == 0 {
			return head, nil, err
		}
		content, err := u.content(ctx, listKey, head.Blobs)
		if errors.Is(err, errReplaced) {
			continue
		}
		if err != nil {
			return head, nil, err
		}
		data, err := io.ReadAll(content)
		stored := new(storedListing)
		if err == nil {
			err = cbor.Unmarshal(data, stored)
		}
		if err != nil || stored.Source != source {
			return head, nil, nil
		}
		return head, stored, nil
	}
	return calcache.Copy{}, nil, errReplaced
}

// fetchListing asks the server and keeps the answer.
func (u *User) fetchListing(ctx context.Context, acct Account) (*listing, error) {
	for try := 1; ; try++ {
		head, stored, err := u.loadListing(ctx, acct.Source)
		if err != nil {
			return nil, err
		}
		at := time.Now()
		next := &storedListing{Source: acct.Source, Proof: acct.Proof}
		if next.Home, next.All, err = askListing(ctx, acct, stored); err != nil {
			return nil, err
		}
		l := &listing{home: next.Home, all: next.All, asked: true}
		content, err := cbor.Marshal(next)
		if err != nil {
			return nil, fmt.Errorf("encode calendars: %w", err)
		}
		if stored != nil {
			before, err := cbor.Marshal(stored)
			if err == nil && string(before) == string(content) {
				if acct.AlwaysCheck && head.Checked != 0 {
					return l, nil
				}
				return l, u.markChecked(ctx, listKey, head.Version, at)
			}
		}
		ids, err := u.stage(ctx, listKey, content)
		if err != nil {
			return nil, err
		}
		version, err := u.commit(ctx, calcache.CommitRequest{
			Key: u.copyKey(listKey), Generation: head.Generation, Version: head.Version,
			Checked: at.UnixMilli(), Blobs: ids, Whole: true,
		})
		if err != nil {
			return nil, err
		}
		if version == 0 && try < maxFills {
			continue // somebody wrote, or fetched as well
		}
		u.svc.outages.over(u.id)
		if stored != nil && version != 0 {
			u.listingDiffers(ctx, stored, next)
		}
		return l, nil
	}
}

// askListing discovers the home once, and again if it is not where it was.
func askListing(ctx context.Context, acct Account, stored *storedListing) (caldav.Home, []collection, error) {
	var home caldav.Home
	var err error
	known := stored != nil && len(stored.Home.Sets) > 0
	if known {
		home = stored.Home
	} else if home, err = acct.Client.Discover(ctx); err != nil {
		return home, nil, err
	}
	list, err := acct.Client.ListCalendars(ctx, home)
	if known && errors.Is(err, caldav.ErrNotFound) {
		if home, err = acct.Client.Discover(ctx); err == nil {
			list, err = acct.Client.ListCalendars(ctx, home)
		}
	}
	if err != nil {
		return home, nil, err
	}
	all := make([]collection, len(list))
	for i := range list {
		all[i] = newCollection(home, &list[i])
	}
	return home, all, nil
}

// listingDiffers tells who listens, and drops the copies of calendars that are gone.
func (u *User) listingDiffers(ctx context.Context, was, is *storedListing) {
	props := func(l *storedListing) map[string]collection {
		out := make(map[string]collection)
		for _, c := range l.All {
			c.CTag, c.Token = "", "" // these change with every event
			out[c.Href] = c
		}
		return out
	}
	before, now := props(was), props(is)
	differs := len(before) != len(now)
	for href, c := range before {
		other, ok := now[href]
		differs = differs || !ok || other != c
		if ok {
			continue
		}
		if err := u.drop(ctx, eventsKey+href); err != nil {
			u.svc.opts.Logger.WarnContext(ctx, "copy of a deleted calendar stays", "href", href, "err", err)
		}
	}
	if differs {
		u.svc.notify(Change{User: u.id, Calendars: true})
	}
}
