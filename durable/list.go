package durable

import (
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"math"

	"github.com/perdure/perdure/store"
)

// ListOptions select keys. Start is inclusive, StartAfter and End are exclusive;
// they mean the same in both directions. Empty fields do not restrict, but Start
// and StartAfter exclude each other.
type ListOptions struct {
	Start, StartAfter, End, Prefix string

	Reverse bool // from the greatest key to the smallest
	Limit   int  // at most this many entries; 0: all
}

// Entry is a key and its value.
type Entry struct {
	Key string
	Value
}

func (o ListOptions) bounds(lim *Limits) (store.Range, error) {
	for _, key := range [4]string{o.Start, o.StartAfter, o.End, o.Prefix} {
		if len(key) > lim.KeyBytes {
			return store.Range{}, overLimit(ErrKeyTooLarge, len(key), lim.KeyBytes)
		}
	}
	switch {
	case o.Start != "" && o.StartAfter != "":
		return store.Range{}, fmt.Errorf("%w: both Start and StartAfter are set", ErrInvalidRange)
	case o.Limit < 0:
		return store.Range{}, fmt.Errorf("%w: Limit %d is negative", ErrInvalidRange, o.Limit)
	}
	r := store.Range{Start: max(o.Start, o.Prefix), End: o.End, Reverse: o.Reverse}
	if o.StartAfter != "" {
		r.Start = max(o.StartAfter+"\x00", o.Prefix)
	}
	if end := store.PrefixEnd(o.Prefix); end != "" && (r.End == "" || end < r.End) {
		r.End = end
	}
	return r, nil
}

// List returns the keys that opts select with their values, in the order of
// bytes. It shows the moment of the call; what the event writes while it goes
// through the list is not in it. The list ends at the event's next commit point:
// going on then yields [ErrIteratorInvalid]. After an error there is nothing more.
func (s *Storage) List(ctx context.Context, opts ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := s.list(ctx, opts, func(e Entry) bool { return yield(e, nil) }); err != nil {
			yield(Entry{}, err)
		}
	}
}

func (s *Storage) list(ctx context.Context, opts ListOptions, yield func(Entry) bool) error {
	r, err := opts.bounds(s.limits())
	if err != nil {
		return err
	}
	ev, o, err := s.enter(ctx)
	if err != nil {
		return err
	}
	if r.Empty() {
		o.mu.Unlock()
		return nil
	}
	over, engine := o.overlayLocked(r)
	point := o.points
	o.mu.Unlock()
	if opts.Limit > 0 {
		r.Limit = opts.Limit + len(over)
	}

	n := 0
	stopped := false
	var invalid error
	err = o.scan(o.rt().life, r, over, engine, func(key string, value []byte) bool {
		o.mu.Lock()
		if invalid = ev.usableLocked(); invalid == nil && o.points != point {
			invalid = ErrIteratorInvalid
		}
		o.mu.Unlock()
		if invalid != nil {
			return false
		}
		n++
		if !yield(Entry{key, Value{append([]byte{}, value...)}}) {
			stopped = true
			return false
		}
		return opts.Limit == 0 || n < opts.Limit
	})
	if stopped {
		return nil
	}
	if err == nil {
		err = invalid
	}
	return err
}

// Page is one page of a list.
type Page struct {
	Entries []Entry
	Cursor  string // pass it to get the next page; "" if this was the last
}

// cursorVersion begins a cursor; what follows is the last key of the page.
const cursorVersion = 1

// ListPage returns the next page of what opts select: opts.Limit entries, 100
// if that is 0, after the one at which the page that returned cursor ended; an
// empty cursor asks for the first. A cursor stays valid across events, restarts,
// and keys added or removed, that at which the page ended included. Pass the same opts
// with it. A cursor that no page returned is [ErrInvalidCursor].
func (s *Storage) ListPage(ctx context.Context, opts ListOptions, cursor string) (Page, error) {
	switch {
	case opts.Limit == 0:
		opts.Limit = 100
	case opts.Limit < 0 || opts.Limit == math.MaxInt:
		return Page{}, fmt.Errorf("%w: Limit %d", ErrInvalidRange, opts.Limit)
	}
	if cursor != "" {
		data, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || len(data) == 0 || data[0] != cursorVersion || len(data)-1 > s.limits().KeyBytes {
			return Page{}, ErrInvalidCursor
		}
		last := string(data[1:])
		if _, err := opts.bounds(s.limits()); err != nil {
			return Page{}, err
		}
		switch {
		case opts.Reverse && last == "": // nothing is smaller
			return Page{}, nil
		case opts.Reverse:
			if opts.End == "" || last < opts.End {
				opts.End = last
			}
		case last == "": // as StartAfter it would mean no bound
			if opts.StartAfter == "" {
				opts.Start = max(opts.Start, "\x00")
			}
		case last >= opts.Start && last > opts.StartAfter:
			opts.Start, opts.StartAfter = "", last
		}
	}
	limit := opts.Limit
	opts.Limit++
	var p Page
	for e, err := range s.List(ctx, opts) {
		if err != nil {
			return Page{}, err
		}
		if len(p.Entries) == limit {
			last := p.Entries[limit-1].Key
			p.Cursor = base64.RawURLEncoding.EncodeToString(append([]byte{cursorVersion}, last...))
			break
		}
		p.Entries = append(p.Entries, e)
	}
	return p, nil
}
