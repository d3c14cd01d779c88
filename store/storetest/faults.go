package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perdure/perdure/store"
)

// counters is a number of writers, each with an object of its own, whose every
// batch carries the next number in several places, so that a torn batch shows.
type counters struct {
	ws     []*writer
	issued []atomic.Int64 // the last number applied
	acked  []atomic.Int64 // the last number whose Wait returned nil
}

const (
	countersNamespace = 11
	countersKeys      = 6
)

func newCounters(s store.Store, n int) *counters {
	c := &counters{issued: make([]atomic.Int64, n), acked: make([]atomic.Int64, n)}
	for i := range n {
		c.ws = append(c.ws, &writer{s: s, o: object(countersNamespace, byte(i+1))})
	}
	return c
}

// next applies writer i's next batch: n in every key, in the size and in the alarm.
// pad bytes make the batch larger.
func (c *counters) next(i, pad int) (n int64, commit store.Commit) {
	n = c.issued[i].Add(1)
	ops := []store.Op{}
	for k := range countersKeys {
		ops = append(ops, put(fmt.Sprint(k), fmt.Sprintf("%d %s", n, strings.Repeat("p", pad))))
	}
	return n, c.ws[i].apply(func(h *store.Header) {
		h.Named, h.Name = true, strconv.Itoa(i)
		h.Size = n
		h.Alarm = store.Alarm{Due: n, Next: n}
	}, ops...)
}

// ack notes that number n of writer i is durable.
func (c *counters) ack(i int, n int64) {
	for {
		old := c.acked[i].Load()
		if old >= n || c.acked[i].CompareAndSwap(old, n) {
			return
		}
	}
}

// checkCounter reads a counter object and returns its number, 0 if it does not
// exist, or an error if its parts do not agree: a torn batch.
func checkCounter(s store.Store, i int) (int64, error) {
	o := object(countersNamespace, byte(i+1))
	l, err := s.Load(ctx, o)
	if err != nil {
		return 0, err
	}
	var n int64
	if l.Header != nil {
		n = l.Header.Size
	}
	keys := 0
	err = s.Scan(ctx, o, store.Range{}, func(k, v []byte) bool {
		keys++
		number, _, _ := strings.Cut(string(v), " ")
		if number != fmt.Sprint(n) {
			err = errors.Join(err, fmt.Errorf("key %q is %s, the header says %d", k, number, n))
		}
		return true
	})
	if n != 0 && keys != countersKeys || n == 0 && keys != 0 {
		err = errors.Join(err, fmt.Errorf("number %d with %d keys", n, keys))
	}
	return n, err
}

// checkCounters compares a store that was opened after a failure with what was promised
// before. acked and issued are of the moment of the failure.
func checkCounters(t *testing.T, s store.Store, acked, issued []int64) {
	t.Helper()
	due := map[store.Object]int64{}
	for _, d := range alarms(t, s, 2*len(acked)+10) {
		due[d.Object] = d.Alarm.Next
	}
	var listed, named []string
	for i := range acked {
		n, err := checkCounter(s, i)
		if err != nil {
			t.Errorf("object %d is torn: %v", i, err)
		}
		if n < acked[i] {
			t.Errorf("object %d is at %d, but %d was acknowledged", i, n, acked[i])
		}
		if n > issued[i] {
			t.Errorf("object %d is at %d, but only %d was ever applied", i, n, issued[i])
		}
		o := object(countersNamespace, byte(i+1))
		if due[o] != n {
			t.Errorf("object %d is at %d, but its alarm is at %d", i, n, due[o])
		}
		delete(due, o)
		if n > 0 {
			named = append(named, strconv.Itoa(i))
			listed = append(listed, o.String())
		}
	}
	if len(due) > 0 {
		t.Errorf("alarms of objects that do not exist: %v", due)
	}
	slices.Sort(named)
	if got := names(t, s, countersNamespace, "", nil); !slices.Equal(got, named) {
		t.Errorf("Names = %q, want %q", got, named)
	}
	var got []string
	for _, o := range objects(t, s, countersNamespace, [32]byte{}) {
		got = append(got, o.String())
	}
	if !slices.Equal(got, listed) {
		t.Errorf("Objects = %q, want %q", got, listed)
	}
}

func values(a []atomic.Int64) []int64 {
	v := make([]int64, len(a))
	for i := range a {
		v[i] = a[i].Load()
	}
	return v
}

// testFaults lets the disk fail at the k-th operation for growing k, under load.
func testFaults(t *testing.T, open func(t *testing.T) *Harness) {
	if h := open(t); h.Fail == nil {
		t.Skip("the engine has no disk that fails")
	}
	for _, kind := range []Fault{WriteError, SyncError, DiskFull} {
		for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 25, 40, 80, 150} {
			t.Run(fmt.Sprintf("%s/%d", kind, k), func(t *testing.T) {
				if h := open(t); h.Heal != nil {
					testPassingFault(t, h, kind, k)
				} else {
					testFault(t, h, kind, k)
				}
			})
		}
	}
}

func testFault(t *testing.T, h *Harness, kind Fault, k int) {
	const n = 4
	s := h.Store
	c := newCounters(s, n)
	for i := range n {
		number, commit := c.next(i, 0)
		must(t, commit)
		c.ack(i, number)
	}
	h.Fail(kind, k)

	// failed is set when somebody was told of a failure: from then on nobody may
	// read anything. shown is what those methods showed that show durable batches
	// only: it must be there afterwards.
	var failed atomic.Bool
	var mu sync.Mutex
	shown := make([]int64, n)
	var writers, readers sync.WaitGroup
	check := func(what string, before bool, err error) bool {
		switch {
		case err == nil && before:
			t.Errorf("%s succeeded after a batch had failed", what)
		case err != nil && !errors.Is(err, store.ErrBroken):
			t.Errorf("%s = %v, want ErrBroken", what, err)
		}
		return err == nil
	}
	for range 2 {
		readers.Go(func() {
			for ok := true; ok; {
				before := failed.Load()
				due, err := s.Alarms(ctx, nil, 10)
				ok = check("Alarms", before, err)
				if ok {
					mu.Lock()
					for _, d := range due {
						i := d.Object.ID[31] - 1
						shown[i] = max(shown[i], d.Alarm.Next)
					}
					mu.Unlock()
				}
				before = failed.Load()
				err = s.Objects(ctx, countersNamespace, [32]byte{}, func(id [32]byte, h *store.Header) bool {
					mu.Lock()
					shown[id[31]-1] = max(shown[id[31]-1], h.Size)
					mu.Unlock()
					return true
				})
				ok = check("Objects", before, err) && ok
				before = failed.Load()
				_, err = s.Get(ctx, object(countersNamespace, 1), "0")
				ok = check("Get", before, err) && ok
				before = failed.Load()
				_, err = s.Load(ctx, object(countersNamespace, 2))
				ok = check("Load", before, err) && ok
			}
		})
	}
	for i := range n {
		writers.Go(func() {
			type sent struct {
				n int64
				c store.Commit
			}
			var queue []sent
			for range 5000 {
				number, commit := c.next(i, 500)
				queue = append(queue, sent{number, commit})
				if len(queue) < 4 { // pipelined
					continue
				}
				if err := queue[0].c.Wait(); err != nil {
					failed.Store(true)
					if !errors.Is(err, store.ErrBroken) {
						t.Errorf("Wait() = %v, want ErrBroken", err)
					}
					for _, q := range queue[1:] {
						if err := q.c.Wait(); !errors.Is(err, store.ErrBroken) {
							t.Errorf("Wait() of a later batch = %v, want ErrBroken", err)
						}
					}
					return
				}
				c.ack(i, queue[0].n)
				queue = queue[1:]
			}
			t.Errorf("the fault never came")
			failed.Store(true)
		})
	}
	writers.Wait()
	if t.Failed() {
		h.Store.Close()
	}
	readers.Wait()

	for name, call := range calls(s, ctx) {
		if err := call(); !errors.Is(err, store.ErrBroken) {
			t.Errorf("%s after the failure = %v, want ErrBroken", name, err)
		}
	}
	if err := apply(s); !errors.Is(err, store.ErrBroken) {
		t.Errorf("Wait() of a batch after the failure = %v, want ErrBroken", err)
	}
	acked, issued := values(c.acked), values(c.issued)
	for i := range shown {
		acked[i] = max(acked[i], shown[i]) // what was shown has to stay, as what was acknowledged
	}
	if h.Image != nil {
		checkCounters(t, h.Image(0, 0)(t), acked, issued)
		checkCounters(t, h.Image(60, 1)(t), acked, issued)
	}
	if err := s.Close(); !errors.Is(err, store.ErrBroken) {
		t.Errorf("Close() = %v, want ErrBroken", err)
	}
	if err := apply(s); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Wait() of a batch after Close = %v, want ErrClosed", err)
	}
	if h.Reopen != nil {
		s := h.Reopen(t)
		checkCounters(t, s, acked, issued)
		if err := apply(s); err != nil {
			t.Errorf("Wait() of a batch after Reopen = %v", err)
		}
	}
}

// testPassingFault is testFault for an engine that a failure does not break. What was
// acknowledged stays, what was refused never comes, what is unknown is settled by the
// next Load, and from there the object goes on.
func testPassingFault(t *testing.T, h *Harness, kind Fault, k int) {
	const n = 4
	s := h.Store
	c := newCounters(s, n)
	for i := range n {
		number, commit := c.next(i, 0)
		must(t, commit)
		c.ack(i, number)
	}
	h.Fail(kind, k)

	refused := make([]int64, n) // the first number of each writer that was
	outcome := func(what string, err error) {
		if !errors.Is(err, store.ErrRefused) && !errors.Is(err, store.ErrUnknown) {
			t.Errorf("Wait() of %s = %v, want ErrRefused or ErrUnknown", what, err)
		}
	}
	type sent struct {
		n int64
		c store.Commit
	}
	var writers sync.WaitGroup
	for i := range n {
		writers.Go(func() {
			var queue []sent
			for range 5000 {
				number, commit := c.next(i, 500)
				queue = append(queue, sent{number, commit})
				if len(queue) < 4 { // pipelined
					continue
				}
				err := queue[0].c.Wait()
				if err == nil {
					c.ack(i, queue[0].n)
					queue = queue[1:]
					continue
				}
				for at, q := range queue {
					err := q.c.Wait()
					outcome(fmt.Sprintf("batch %d after a failure", at), err)
					if errors.Is(err, store.ErrRefused) && refused[i] == 0 {
						refused[i] = q.n
					}
				}
				return
			}
			t.Errorf("the fault never came")
		})
	}
	writers.Wait()

	h.Heal()
	acked, issued := values(c.acked), values(c.issued)
	for i := range n {
		if refused[i] != 0 {
			issued[i] = refused[i] - 1
		}
	}
	checkCounters(t, s, acked, issued)
	// Nothing arrives later, and each object goes on from where it is.
	for i := range n {
		w := c.ws[i]
		l := load(t, s, w.o)
		w.h, w.last = l.Header, nil
		c.issued[i].Store(l.Header.Size)
		number, commit := c.next(i, 0)
		must(t, commit)
		acked[i], issued[i] = number, number
	}
	checkCounters(t, s, acked, issued)
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if h.Reopen != nil {
		checkCounters(t, h.Reopen(t), acked, issued)
	}
}
