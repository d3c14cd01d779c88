package calendar

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[int]
		var mu sync.Mutex
		runs := 0
		gate := make(chan struct{})
		fn := func(ctx context.Context) (int, error) {
			mu.Lock()
			runs++
			n := runs
			mu.Unlock()
			select {
			case <-gate:
				return n, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		var got [4]int
		join := func(i int) {
			go func() { got[i], _ = f.do(t.Context(), "k", fn) }()
			synctest.Wait()
		}
		join(0)
		join(1)
		f.forget("k")
		join(2) // may not see what the first one saw
		join(3)
		close(gate)
		synctest.Wait()
		if want := [4]int{1, 1, 2, 2}; got != want {
			t.Errorf("flights %v, want %v", got, want)
		}

		// The last who leaves ends it.
		gate = make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go f.do(ctx, "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return 0, ctx.Err()
		})
		synctest.Wait()
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("flight ended with %v", err)
		}
		f.close()
		if _, err := f.do(t.Context(), "k", fn); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}
