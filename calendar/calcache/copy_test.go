package calcache_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/internal/classtest"
	"github.com/perdure/perdure/durable"
)

// copies calls the typed methods for one copy.
type copies struct {
	*classtest.Object
	t   *testing.T
	key calcache.CopyKey
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (c *copies) head() calcache.Copy {
	c.t.Helper()
	return must[calcache.Copy](c.t)(durable.Call(c.t.Context(), c.Stub, (*calcache.Cache).Copy, c.key))
}

func (c *copies) stage(blobs ...string) []uint64 {
	c.t.Helper()
	req := calcache.StageRequest{Key: c.key}
	for _, b := range blobs {
		req.Blobs = append(req.Blobs, []byte(b))
	}
	return must[[]uint64](c.t)(durable.Call(c.t.Context(), c.Stub, (*calcache.Cache).Stage, req))
}

func (c *copies) commit(from calcache.Copy, whole bool, blobs ...uint64) bool {
	c.t.Helper()
	v := must[uint64](c.t)(durable.Call(c.t.Context(), c.Stub, (*calcache.Cache).Commit, calcache.CommitRequest{
		Key: c.key, Generation: from.Generation, Version: from.Version, Checked: 7, Note: []byte("n"), Blobs: blobs, Whole: whole}))
	return v != 0
}

func (c *copies) patch(version uint64, blob string) bool {
	c.t.Helper()
	v := must[uint64](c.t)(durable.Call(c.t.Context(), c.Stub, (*calcache.Cache).Patch,
		calcache.PatchRequest{Key: c.key, Version: version, Blob: []byte(blob)}))
	return v != 0
}

// content is the copy's content, "(none)" without a copy.
func (c *copies) content() string {
	c.t.Helper()
	head := c.head()
	if head.Version == 0 {
		return "(none)"
	}
	blobs := must[[][]byte](c.t)(durable.Call(c.t.Context(), c.Stub, (*calcache.Cache).ReadBlobs, calcache.BlobRequest{Key: c.key, IDs: head.Blobs}))
	for i, b := range blobs {
		if b == nil {
			c.t.Errorf("blob %d of the copy does not exist", i)
		}
	}
	return string(bytes.Join(blobs, nil))
}

func (c *copies) want(what, want string) {
	c.t.Helper()
	if got := c.content(); got != want {
		c.t.Errorf("%s: content %q, want %q", what, got, want)
	}
}

func newCopies(t *testing.T) *copies {
	return &copies{open(t, nil), t, calcache.CopyKey{User: "u", Name: "n"}}
}

func TestCopyFill(t *testing.T) {
	c := newCopies(t)
	c.want("at first", "(none)")
	first := c.head()
	if first.Generation == 0 || c.head().Generation != first.Generation {
		t.Error("no steady generation")
	}
	if !c.commit(first, true, c.stage("a", "b")...) {
		t.Fatal("the first fill was dropped")
	}
	c.want("after a fill", "ab")
	if h := c.head(); h.Checked != 7 || string(h.Note) != "n" || h.Generation != first.Generation || h.Version == 0 {
		t.Errorf("head %+v", h)
	}
	if c.commit(first, true, c.stage("x")...) {
		t.Error("a second fill from the same moment was taken")
	}
	second := c.head()
	if !c.commit(second, false, append(second.Blobs, c.stage("c")...)...) {
		t.Error("a delta was dropped")
	}
	c.want("after a delta", "abc")
	third := c.head()
	if c.commit(third, false, 4711) {
		t.Error("a commit of a blob that does not exist was taken")
	}
	// A whole copy takes what was never committed with it.
	if !c.commit(third, true, c.stage("w")...) {
		t.Error("a whole copy was dropped")
	}
	c.want("after a whole copy", "w")
	if keys := c.Keys(); len(keys) != 2 {
		t.Errorf("storage holds %q, want a head and a blob", keys)
	}
	c.Crash()
	c.want("after a crash", "w")
}

func TestCopyInvalidation(t *testing.T) {
	c := newCopies(t)
	c.commit(c.head(), true, c.stage("a")...)
	before := c.head()
	if !c.patch(before.Version, "+p") {
		t.Error("a patch of the version from before its write was not appended")
	}
	c.want("after a patch", "a+p")
	if c.commit(before, true, c.stage("old")...) {
		t.Error("a fill that began before a patch was taken")
	}
	// A fill was committed between the beginning and the end of a write.
	before = c.head()
	c.commit(before, true, c.stage("filled")...)
	if c.patch(before.Version, "+q") {
		t.Error("a patch was appended over a fill")
	}
	c.want("after a late patch", "filled")
	if h := c.head(); h.Checked != 0 || h.Generation == before.Generation {
		t.Errorf("head after a late patch: %+v, want another generation, not compared", h)
	}
	// Invalidation before there is a copy.
	other := newCopies(t)
	before = other.head()
	other.patch(0, "")
	if other.commit(before, true, other.stage("x")...) {
		t.Error("the first fill was taken though it began before a write")
	}
}

func TestCopyPatchesAreBounded(t *testing.T) {
	c := newCopies(t)
	c.commit(c.head(), true, c.stage("a")...)
	n := 0
	for c.patch(c.head().Version, "p") && n < 10_000 {
		n++
	}
	if n == 0 || n > 1000 || c.head().Checked != 0 {
		t.Errorf("%d patches were appended; checked %d", n, c.head().Checked)
	}
}

func TestCopyDropAndClear(t *testing.T) {
	c := newCopies(t)
	other := &copies{c.Object, t, calcache.CopyKey{User: "u2", Name: "n"}}
	for _, end := range []string{"drop", "clear"} {
		c.commit(c.head(), true, c.stage("a", "b")...)
		other.commit(other.head(), true, other.stage("other")...)
		put(c.Object, "/calendars?userId=u")
		before := c.head()
		if end == "drop" {
			if err := durable.Exec(t.Context(), c.Stub, (*calcache.Cache).Drop, c.key); err != nil {
				t.Fatal(err)
			}
		} else if got := c.Want(200, "DELETE", "/clear?userId=u", ""); got != `{"success":true,"clearedEntries":1}` {
			t.Errorf("clear = %s, want one entry: copies are not counted", got)
		}
		c.want("after a "+end, "(none)")
		other.want("of another user", "other")
		if c.commit(before, true) {
			t.Errorf("a fill that began before a %s was taken", end)
		}
	}
}

// Names and users that resemble each other have copies of their own.
func TestCopyKeys(t *testing.T) {
	o := open(t, nil)
	var all []*copies
	for _, user := range []string{"", "a", "ab", "1:a", "u\x00"} {
		for _, name := range []string{"", "b", "1:b", "objects:/x/", "w"} {
			all = append(all, &copies{o, t, calcache.CopyKey{User: user, Name: name}})
		}
	}
	for i, c := range all {
		c.commit(c.head(), true, c.stage(fmt.Sprint(i))...)
	}
	for i, c := range all {
		c.want(fmt.Sprintf("%q", c.key), fmt.Sprint(i))
	}
}

func TestPreferencesFill(t *testing.T) {
	o := open(t, nil)
	get := func() calcache.Preferences {
		return must[calcache.Preferences](t)(durable.Call(t.Context(), o.Stub, (*calcache.Cache).GetPreferences, "u"))
	}
	set := func(generation uint64, data string) {
		if err := durable.Exec(t.Context(), o.Stub, (*calcache.Cache).PutPreferences, calcache.Preferences{User: "u", Generation: generation, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	empty := get()
	set(0, `{"v":2}`)
	set(empty.Generation, `{"v":1}`) // was read before the change
	if diff := cmp.Diff(`{"v":2}`, string(get().Data)); diff != "" {
		t.Errorf("a fill from before a change won (-want +got):\n%s", diff)
	}
	set(get().Generation, `{"v":3}`)
	if got := o.Want(200, "GET", "/preferences?userId=u", ""); got != `{"v":3}` {
		t.Errorf("GET /preferences = %s", got)
	}
}
