package davserver

import (
	"context"
	"fmt"
	"sort"

	"github.com/perdure/perdure/durable"
)

// home is an object of class Home, one per user id: which names the user's calendars
// have, and which objects they are.
type home struct{ st *durable.State }

func newHome(_ context.Context, st *durable.State) (*home, error) { return &home{st}, nil }

// Keys of a Home.
const (
	homeKey       = "h" // homeRecord
	homeNameSpace = "n" // + name: homeEntry
)

// homeRecord exists from the moment that a user has had a calendar.
type homeRecord struct {
	Created int64 `cbor:"1,keyasint"` // Unix milliseconds
	Next    int   `cbor:"2,keyasint"` // the order of the next entry
}

type homeEntry struct {
	ID    string `cbor:"1,keyasint"` // of the Calendar
	Order int    `cbor:"2,keyasint"`
}

// homeCalendar is a calendar as Home knows it.
type homeCalendar struct {
	Name string
	ID   string
}

type homeEntryArgs struct {
	Name  string
	ID    string
	Limit int
}

// Begun reports whether the user ever had a calendar.
func (h *home) Begun(ctx context.Context) (bool, error) {
	_, found, err := h.record(ctx)
	return found, err
}

// Seed makes the user's first calendars, all at once, unless there ever was one.
func (h *home) Seed(ctx context.Context, calendars []homeCalendar) (bool, error) {
	rec, found, err := h.record(ctx)
	if err != nil || found {
		return false, err
	}
	rec.Next = len(calendars)
	entries := map[string]any{homeKey: rec}
	for i, c := range calendars {
		entries[homeNameSpace+c.Name] = homeEntry{ID: c.ID, Order: i}
	}
	if err := h.st.Storage().PutMany(ctx, entries); err != nil {
		return false, fmt.Errorf("seed home: %w", err)
	}
	return true, nil
}

// Enter gives a calendar its name. It returns errExists or errFull.
func (h *home) Enter(ctx context.Context, args homeEntryArgs) error {
	storage := h.st.Storage()
	key := homeNameSpace + args.Name
	if found, err := storage.Get(ctx, key, new(homeEntry)); err != nil {
		return fmt.Errorf("enter calendar: %w", err)
	} else if found {
		return errExists
	}
	all, err := h.Calendars(ctx)
	if err != nil {
		return err
	}
	if len(all) >= args.Limit {
		return errFull
	}
	rec, _, err := h.record(ctx)
	if err != nil {
		return err
	}
	entry := homeEntry{ID: args.ID, Order: rec.Next}
	rec.Next++
	if err := storage.PutMany(ctx, map[string]any{homeKey: rec, key: entry}); err != nil {
		return fmt.Errorf("enter calendar: %w", err)
	}
	return nil
}

// Find returns the id of a calendar, or errNoCalendar.
func (h *home) Find(ctx context.Context, name string) (string, error) {
	var e homeEntry
	found, err := h.st.Storage().Get(ctx, homeNameSpace+name, &e)
	if err != nil {
		return "", fmt.Errorf("find calendar: %w", err)
	}
	if !found {
		return "", errNoCalendar
	}
	return e.ID, nil
}

// Leave takes a name away and returns the id of the calendar that had it, or errNoCalendar.
func (h *home) Leave(ctx context.Context, name string) (string, error) {
	id, err := h.Find(ctx, name)
	if err != nil {
		return "", err
	}
	if _, err := h.st.Storage().Delete(ctx, homeNameSpace+name); err != nil {
		return "", fmt.Errorf("take calendar out: %w", err)
	}
	return id, nil
}

// Calendars returns all calendars in the order in which they were made.
func (h *home) Calendars(ctx context.Context) ([]homeCalendar, error) {
	type ordered struct {
		homeCalendar
		order int
	}
	var all []ordered
	for e, err := range h.st.Storage().List(ctx, durable.ListOptions{Prefix: homeNameSpace}) {
		var entry homeEntry
		if err == nil {
			err = e.Decode(&entry)
		}
		if err != nil {
			return nil, fmt.Errorf("list calendars: %w", err)
		}
		all = append(all, ordered{homeCalendar{e.Key[len(homeNameSpace):], entry.ID}, entry.Order})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].order < all[j].order })
	out := make([]homeCalendar, len(all))
	for i, c := range all {
		out[i] = c.homeCalendar
	}
	return out, nil
}

func (h *home) record(ctx context.Context) (homeRecord, bool, error) {
	var rec homeRecord
	found, err := h.st.Storage().Get(ctx, homeKey, &rec)
	if err != nil {
		return rec, false, fmt.Errorf("load home: %w", err)
	}
	if !found {
		rec.Created = h.st.Now().UnixMilli()
	}
	return rec, found, nil
}
