package storetest

import (
	"sync"
	"testing"

	"github.com/perdure/perdure/store"
)

// testImages opens what a power failure would leave before each change of the
// disk: every acknowledged batch is in it, and every batch whole or not at all.
func testImages(t *testing.T, h *Harness) {
	if h.Image == nil {
		t.Skip("the engine has no crash images")
	}
	r := random(t)
	const writers, batches, most = 3, 120, 250
	c := newCounters(h.Store, writers)

	type image struct {
		open          func(t *testing.T) store.Store
		acked, issued []int64
		step, keep    int
	}
	var images []image
	step := 0
	take := func() {
		keep := []int{0, 30, 70, 100}[step%4]
		// What is acknowledged before the image is taken has to be in it, and nothing
		// that is applied after it.
		im := image{step: step, keep: keep, acked: values(c.acked)}
		im.open = h.Image(keep, r.Uint64())
		im.issued = values(c.issued)
		step++
		images = append(images, im)
	}
	var mu sync.Mutex
	if h.EachStep != nil {
		h.EachStep(take)
	}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range batches {
				n, commit := c.next(i, 1000)
				if err := commit.Wait(); err != nil {
					t.Errorf("Wait() = %v", err)
					return
				}
				c.ack(i, n)
				if h.EachStep == nil {
					mu.Lock()
					take()
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if h.EachStep != nil {
		h.EachStep(nil)
	}
	if step < 50 {
		t.Errorf("%d images, want at least 50", step)
	}
	t.Logf("%d steps", step)
	for i, im := range images {
		if len(images) > most && i%(len(images)/most+1) != 0 {
			continue // a step at random is as good as the next
		}
		s := im.open(t)
		checkCounters(t, s, im.acked, im.issued)
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if t.Failed() {
			t.Fatalf("step %d, keeping %d percent of what was not synced: acknowledged %v, applied %v", im.step, im.keep, im.acked, im.issued)
		}
	}
}
