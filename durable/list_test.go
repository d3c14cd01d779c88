package durable_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
)

// selects is what opts mean, said as simply as possible.
func selects(opts durable.ListOptions, key string) bool {
	return key >= opts.Start && (opts.StartAfter == "" || key > opts.StartAfter) && (opts.End == "" || key < opts.End) &&
		strings.HasPrefix(key, opts.Prefix)
}

func selectKeys(model map[string]int, opts durable.ListOptions) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if selects(opts, k) {
			keys = append(keys, k)
		}
	}
	if opts.Reverse {
		slices.Reverse(keys)
	}
	if opts.Limit > 0 && len(keys) > opts.Limit {
		keys = keys[:opts.Limit]
	}
	return keys
}

func listKeys(ctx context.Context, o *Obj, opts durable.ListOptions) (keys []string, err error) {
	for e, err := range o.st.Storage().List(ctx, opts) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// The forms that the reference shows, with what it answers.
func TestListForms(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		for _, k := range []string{"c", "a", "b1", "a2", "b", "a1"} {
			o.put(ctx, k, 1)
		}
		for _, tt := range []struct {
			opts durable.ListOptions
			want string
		}{
			{durable.ListOptions{}, "a a1 a2 b b1 c"},
			{durable.ListOptions{Prefix: "a"}, "a a1 a2"},
			{durable.ListOptions{Start: "a2"}, "a2 b b1 c"},
			{durable.ListOptions{StartAfter: "a2"}, "b b1 c"},
			{durable.ListOptions{Start: "a15"}, "a2 b b1 c"},
			{durable.ListOptions{End: "b"}, "a a1 a2"},
			{durable.ListOptions{Start: "a1", End: "b1"}, "a1 a2 b"},
			{durable.ListOptions{Start: "b", End: "b"}, ""},
			{durable.ListOptions{Start: "c", End: "a"}, ""},
			{durable.ListOptions{Limit: 2}, "a a1"},
			{durable.ListOptions{Limit: 100}, "a a1 a2 b b1 c"},
			{durable.ListOptions{Reverse: true}, "c b1 b a2 a1 a"},
			{durable.ListOptions{Reverse: true, Limit: 2}, "c b1"},
			{durable.ListOptions{Start: "a2", Reverse: true}, "c b1 b a2"},
			{durable.ListOptions{StartAfter: "a2", Reverse: true}, "c b1 b"},
			{durable.ListOptions{End: "b", Reverse: true}, "a2 a1 a"},
			{durable.ListOptions{End: "b", Reverse: true, Limit: 2}, "a2 a1"},
			{durable.ListOptions{Start: "a1", End: "b1", Reverse: true, Limit: 2}, "b a2"},
			{durable.ListOptions{Prefix: "a", Start: "a1"}, "a1 a2"},
			{durable.ListOptions{Prefix: "a", StartAfter: "a1"}, "a2"},
			{durable.ListOptions{Prefix: "b", Start: "a1"}, "b b1"},
			{durable.ListOptions{Prefix: "a", Start: "b"}, ""},
			{durable.ListOptions{Prefix: "a", End: "a2"}, "a a1"},
			{durable.ListOptions{Prefix: "a", End: "z"}, "a a1 a2"},
			{durable.ListOptions{Prefix: "b", End: "a"}, ""},
			{durable.ListOptions{Prefix: "a", Limit: 2, Reverse: true}, "a2 a1"},
			{durable.ListOptions{StartAfter: "c"}, ""},
		} {
			keys, err := listKeys(ctx, o, tt.opts)
			if got := strings.Join(keys, " "); got != tt.want || err != nil {
				t.Errorf("List(%+v) = %q, %v, want %q", tt.opts, got, err, tt.want)
			}
		}
		for _, opts := range []durable.ListOptions{{Start: "a", StartAfter: "a"}, {Limit: -1}} {
			_, err := listKeys(ctx, o, opts)
			wantErr(t, fmt.Sprintf("List(%+v)", opts), err, durable.ErrInvalidRange)
			_, err = o.st.Storage().ListPage(ctx, opts, "")
			wantErr(t, fmt.Sprintf("ListPage(%+v)", opts), err, durable.ErrInvalidRange)
		}
		return nil
	})
}

// Keys that lie at the borders of ranges.
var oddKeys = []string{"", "\x00", "\x00\x00", "a", "a\x00", "a\x00b", "a\xff", "a\xff\xff", "b", "é", "\xf0", "\xff", "\xff\x00", "\xff\xff", "\xff\xffa"}

func randomKey(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return oddKeys[r.IntN(len(oddKeys))]
	}
	return fmt.Sprintf("%c%02d", 'a'+r.IntN(3), r.IntN(60))
}

func randomOptions(r *rand.Rand) durable.ListOptions {
	var opts durable.ListOptions
	if r.IntN(3) == 0 {
		opts.Start = randomKey(r)
	} else if r.IntN(3) == 0 {
		opts.StartAfter = randomKey(r)
	}
	if r.IntN(3) == 0 {
		opts.End = randomKey(r)
	}
	if r.IntN(3) == 0 {
		k := randomKey(r)
		opts.Prefix = k[:r.IntN(len(k)+1)]
	}
	opts.Reverse = r.IntN(2) == 0
	if r.IntN(3) == 0 {
		opts.Limit = 1 + r.IntN(10)
	}
	return opts
}

// Pages hold each key that stays once, whatever comes and goes between them.
func TestListPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, seed := random(t)
		rt := open(t, nil, nil)
		for round := range 200 {
			a := rt.obj(fmt.Sprint(round))
			opts := randomOptions(r)
			opts.Limit = 1 + r.IntN(4)
			all := opts
			all.Limit = 0
			stays, model := make(map[string]int), make(map[string]int)
			must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
				for range 30 {
					k := randomKey(r)
					model[k] = 1
					if r.IntN(2) == 0 {
						stays[k] = 1
					}
					o.put(ctx, k, 1)
				}
				return nil
			})
			var got []string
			cursor := ""
			for pages := 0; ; pages++ {
				if pages > 1000 {
					t.Fatalf("seed %d: the pages do not end", seed)
				}
				var p durable.Page
				must(t, t.Context(), a, func(ctx context.Context, o *Obj) (err error) {
					p, err = o.st.Storage().ListPage(ctx, opts, cursor)
					return err
				})
				for _, e := range p.Entries {
					got = append(got, e.Key)
				}
				if len(p.Entries) > opts.Limit {
					t.Fatalf("seed %d: a page of %d, limit %d", seed, len(p.Entries), opts.Limit)
				}
				if cursor = p.Cursor; cursor == "" {
					break
				}
				must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
					for range r.IntN(4) { // what comes and goes, the key at which the page ended included
						k := randomKey(r)
						if r.IntN(3) == 0 && len(got) > 0 {
							k = got[len(got)-1]
						}
						if stays[k] == 1 {
							continue
						}
						if r.IntN(2) == 0 {
							o.st.Storage().Delete(ctx, k)
						} else {
							o.put(ctx, k, 1)
						}
					}
					return nil
				})
			}
			seen := make(map[string]int)
			for i, k := range got {
				seen[k]++
				if seen[k] > 1 || !selects(all, k) {
					t.Fatalf("seed %d: %q comes %d times, or does not belong to %+v", seed, k, seen[k], opts)
				}
				if i > 0 && (k < got[i-1]) != opts.Reverse {
					t.Fatalf("seed %d: %q after %q", seed, k, got[i-1])
				}
			}
			for k := range stays {
				if selects(all, k) && seen[k] == 0 {
					t.Fatalf("seed %d: %q is missing in %+v", seed, k, opts)
				}
			}
		}
	})
}

func TestListPageCursors(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		for _, bad := range []string{"x", "AA", "!!", "Ag", strings.Repeat("A", 10000)} {
			_, err := o.st.Storage().ListPage(ctx, durable.ListOptions{}, bad)
			wantErr(t, bad[:1], err, durable.ErrInvalidCursor)
		}
		for i := range 250 {
			o.put(ctx, fmt.Sprintf("%03d", i), 1)
		}
		p, err := o.st.Storage().ListPage(ctx, durable.ListOptions{}, "")
		if len(p.Entries) != 100 || p.Cursor == "" || err != nil {
			t.Errorf("default page: %d entries, cursor %q, %v", len(p.Entries), p.Cursor, err)
		}
		if strings.Contains(p.Cursor, "099") {
			t.Errorf("cursor %q shows its key", p.Cursor)
		}
		p, err = o.st.Storage().ListPage(ctx, durable.ListOptions{Limit: 250}, "")
		if len(p.Entries) != 250 || p.Cursor != "" || err != nil {
			t.Errorf("whole page: %d entries, cursor %q, %v", len(p.Entries), p.Cursor, err)
		}
		return nil
	})
}

// Objects too large to be kept whole are listed from the engine, under what is not durable yet.
func TestListOfALargeObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, seed := random(t)
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{CacheBytes: 8 << 10, NamespaceBytes: -1}})
		a := rt.obj("a")
		model := make(map[string]int)
		write := func(ctx context.Context, o *Obj, n int) {
			for range n {
				k := fmt.Sprintf("%c%03d", 'a'+r.IntN(3), r.IntN(400))
				if r.IntN(4) == 0 {
					o.st.Storage().Delete(ctx, k)
					delete(model, k)
				} else {
					o.put(ctx, k, 1)
					model[k] = 1
				}
			}
		}
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error { write(ctx, o, 1000); return nil })
		for range 50 {
			hold := rt.store.Hold()
			for range r.IntN(3) {
				go do(t.Context(), a, func(ctx context.Context, o *Obj) error { write(ctx, o, 20); return nil })
				synctest.Wait()
			}
			done := async(func() error {
				return do(t.Context(), a, func(ctx context.Context, o *Obj) error {
					write(ctx, o, r.IntN(20))
					for range 10 {
						opts := randomOptions(r)
						got, err := listKeys(ctx, o, opts)
						if d := cmp.Diff(selectKeys(model, opts), got); d != "" || err != nil {
							t.Fatalf("seed %d: List(%+v): %v (-want +got):\n%s", seed, opts, err, d)
						}
					}
					return nil
				})
			})
			synctest.Wait()
			hold.Release()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}
