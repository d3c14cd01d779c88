package durable_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
)

// Promise 5: while a commit is held, nothing that may have seen it leaves.
func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	for name, leave := range map[string]func(ctx context.Context, o *Obj, w http.ResponseWriter, left func()) error{
		"stub call": func(ctx context.Context, o *Obj, _ http.ResponseWriter, left func()) error {
			return do(ctx, o.st.Namespace("Obj").Named("b"), func(context.Context, *Obj) error { left(); return nil })
		},
		"RoundTrip": func(ctx context.Context, o *Obj, _ http.ResponseWriter, left func()) error {
			r := request(t, "GET", nil, func(http.ResponseWriter, *http.Request, *Obj) { left() }).WithContext(ctx)
			_, err := o.st.Namespace("Obj").Named("b").RoundTrip(r)
			return err
		},
		"Await": func(ctx context.Context, o *Obj, _ http.ResponseWriter, left func()) error {
			return o.st.Await(ctx, func(context.Context) error { left(); return nil })
		},
		"HTTPClient": func(ctx context.Context, o *Obj, _ http.ResponseWriter, left func()) error {
			r, _ := http.NewRequestWithContext(ctx, "GET", "http://example.test/", nil)
			_, err := o.st.HTTPClient().Do(r)
			return err
		},
		"Flush": func(ctx context.Context, o *Obj, w http.ResponseWriter, left func()) error {
			io.WriteString(w, "x")
			return http.NewResponseController(w).Flush()
		},
		"Sync": func(ctx context.Context, o *Obj, _ http.ResponseWriter, left func()) error {
			err := o.st.Storage().Sync(ctx)
			left()
			return err
		},
		"answer": nil,
	} {
		for _, write := range []bool{true, false} { // by the event itself, or by one before it
			t.Run(fmt.Sprintf("%s, own write %v", name, write), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					gone := 0
					left := func() { gone++ }
					client := transportFunc(func(*http.Request) (*http.Response, error) {
						left()
						return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
					})
					rt := open(t, nil, &durable.Options{Transport: client})
					a := rt.obj("a")
					hold := rt.store.Hold()
					defer hold.Release()
					first := make(chan error, 1)
					if !write {
						go func() {
							first <- do(t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
						}()
						synctest.Wait()
					}
					w := &notingWriter{left: left}
					done := async(func() error {
						a.ServeHTTP(w, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
							if write {
								o.put(r.Context(), "n", 1)
							} else if n := o.get(r.Context(), "n"); n != 1 {
								t.Errorf("n = %d, want 1: later events see what is not durable yet", n)
							}
							if leave != nil {
								if err := leave(r.Context(), o, w, left); err != nil {
									t.Error(err)
								}
							}
						}))
						return nil
					})
					synctest.Wait()
					if gone != 0 || !pending(done) {
						t.Error("it left before the commit was durable")
					}
					hold.Release()
					<-done
					if gone == 0 {
						t.Error("it never left")
					}
				})
			})
		}
	}
}

type notingWriter struct {
	h    http.Header
	left func()
}

func (w *notingWriter) Header() http.Header {
	if w.h == nil {
		w.h = make(http.Header)
	}
	return w.h
}
func (w *notingWriter) Write(p []byte) (int, error) { w.left(); return len(p), nil }
func (w *notingWriter) WriteHeader(int)             { w.left() }
func (w *notingWriter) Flush()                      { w.left() }

// Commits are pipelined: events run while those before them wait, and answers leave in order.
func TestCommitsArePipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		hold := rt.store.Hold()
		ran := 0
		answered := make(chan int, 10)
		for i := range 10 {
			go func() {
				do(t.Context(), a, func(ctx context.Context, o *Obj) error {
					ran++
					if n := o.get(ctx, "n"); n != i {
						t.Errorf("n = %d, want %d", n, i)
					}
					return o.put(ctx, "n", i+1)
				})
				answered <- i
			}()
			synctest.Wait()
		}
		if ran != 10 || len(answered) != 0 {
			t.Errorf("%d ran and %d were answered, want 10 and 0", ran, len(answered))
		}
		if n := rt.store.Pending(); n != 10 {
			t.Errorf("%d batches under way, want 10", n)
		}
		hold.Release()
		synctest.Wait()
		if len(answered) != 10 {
			t.Errorf("%d were answered, want 10", len(answered))
		}
	})
}

// Answers leave as their own commits become durable, not with the last one.
func TestAnswersDoNotWaitForLaterCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
		slow := make(chan bool)
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.Await(ctx, func(context.Context) error { <-slow; return nil })
		})
		hold := rt.store.Hold()
		waits := async(func() error {
			return do(t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 2) })
		})
		other := async(func() error {
			return do(t.Context(), rt.obj("b"), func(ctx context.Context, o *Obj) error { _ = o.get(ctx, "n"); return nil })
		})
		synctest.Wait()
		if !pending(waits) {
			t.Error("answered before it was durable")
		}
		if pending(other) {
			t.Error("an object without commits waits for another one's")
		}
		hold.Release()
		synctest.Wait()
		if pending(waits) {
			t.Error("not answered though durable: an event in Await held it up")
		}
		close(slow)
	})
}

// A list shows unfinished commits and the turn, in both directions.
func TestListShowsWhatIsNotDurableYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			for _, k := range []string{"a", "c", "e"} {
				o.put(ctx, k, 1)
			}
			return nil
		})
		hold := rt.store.Hold()
		defer hold.Release()
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			o.st.Storage().Delete(ctx, "c")
			return o.put(ctx, "b", 1)
		})
		synctest.Wait()
		got := make(chan [2][]string, 1)
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			o.put(ctx, "d", 1)
			o.st.Storage().Delete(ctx, "a")
			var lists [2][]string
			for i, reverse := range []bool{false, true} {
				for e := range o.st.Storage().List(ctx, durable.ListOptions{Reverse: reverse}) {
					lists[i] = append(lists[i], e.Key)
				}
			}
			got <- lists
			return nil
		})
		if d := cmp.Diff([2][]string{{"b", "d", "e"}, {"e", "d", "b"}}, <-got); d != "" {
			t.Errorf("lists (-want +got):\n%s", d)
		}
	})
}
