package durable_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
)

// count runs 20 events at once that read, do something, and write one more; it returns what is stored then.
func count(t *testing.T, rt *rig, between func(ctx context.Context, o *Obj) error, around bool) int {
	t.Helper()
	a := rt.obj("counter")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
				step := func(ctx context.Context) error {
					n := o.get(ctx, "n")
					if err := between(ctx, o); err != nil {
						return err
					}
					return o.put(ctx, "n", n+1)
				}
				if around {
					return o.st.BlockConcurrencyWhile(ctx, step)
				}
				return step(ctx)
			})
		})
	}
	wg.Wait()
	n := 0
	must(t, t.Context(), a, func(ctx context.Context, o *Obj) error { n = o.get(ctx, "n"); return nil })
	return n
}

// Promise 2: the gate opens at stub calls, Await and Flush, and nowhere else.
func TestWhereTheGateOpens(t *testing.T) {
	pause := func(context.Context) error { time.Sleep(time.Millisecond); return nil }
	stub := func(ctx context.Context, o *Obj) error {
		return do(ctx, o.st.Namespace("Obj").Named("other"), func(ctx context.Context, _ *Obj) error { return pause(ctx) })
	}
	await := func(ctx context.Context, o *Obj) error { return o.st.Await(ctx, pause) }
	storage := func(ctx context.Context, o *Obj) error {
		o.st.Storage().Put(ctx, "x", 1)
		for range o.st.Storage().List(ctx, durable.ListOptions{}) {
		}
		return pause(ctx)
	}
	for _, tt := range []struct {
		name    string
		between work
		around  bool
		kept    bool
	}{
		{"storage and time", storage, false, true},
		{"Sync", func(ctx context.Context, o *Obj) error { return o.st.Storage().Sync(ctx) }, false, true},
		{"Await", await, false, false},
		{"stub call", stub, false, false},
		{"Await, blocked", await, true, true},
		{"stub call, blocked", stub, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := count(t, open(t, nil, nil), tt.between, tt.around)
				if tt.kept != (n == 20) {
					t.Errorf("20 increments made %d", n)
				}
			})
		})
	}
	t.Run("exclusive class", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if n := count(t, open(t, &hooks{opts: durable.ClassOptions{Exclusive: true}}, nil), await, false); n != 20 {
				t.Errorf("20 increments made %d", n)
			}
		})
	})
}

func TestFlushOpensTheGateAndWriteDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		ran := 0
		other := make(chan error, 1)
		w := serve(a, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			go func() {
				other <- do(t.Context(), a, func(context.Context, *Obj) error { ran++; return nil })
			}()
			synctest.Wait()
			w.Write(make([]byte, 1<<20))
			synctest.Wait()
			if ran != 0 {
				t.Error("Write opened the gate")
			}
			w.(http.Flusher).Flush()
			if ran != 1 {
				t.Error("Flush did not open the gate, or did not let the waiting event go first")
			}
		}))
		if err := <-other; err != nil || w.Code != 200 {
			t.Errorf("other event: %v; status %d", err, w.Code)
		}
	})
}

func TestCallChainsMayComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		back := ""
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			o.n = 7
			return do(ctx, o.st.Namespace("Obj").Named("b"), func(ctx context.Context, o *Obj) error {
				return do(ctx, o.st.Namespace("Obj").Named("a"), func(_ context.Context, o *Obj) error {
					if o.n == 7 {
						back = "pong"
					}
					return nil
				})
			})
		})
		if back != "pong" {
			t.Error("a called b called a: the call did not reach the same instance")
		}
	})
}

// Where the gate is kept shut, a chain that comes back fails at once and names the way.
func TestDeadlockIsFoundAtOnce(t *testing.T) {
	viaB := func(ctx context.Context, o *Obj, kind string) error {
		return do(ctx, o.st.Namespace(kind).Named("b"), func(ctx context.Context, o *Obj) error {
			return do(ctx, o.st.Namespace("Obj").Named("a"), func(context.Context, *Obj) error { return nil })
		})
	}
	check := func(t *testing.T, err error, began time.Time) {
		t.Helper()
		wantErr(t, "chain", err, durable.ErrDeadlock)
		if err != nil && !strings.Contains(err.Error(), `Obj "a" -> Obj "b" -> Obj "a"`) {
			t.Errorf("error %q does not name the chain", err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
	}
	t.Run("BlockConcurrencyWhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := open(t, nil, nil)
			began := time.Now()
			check(t, do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
				return o.st.BlockConcurrencyWhile(ctx, func(ctx context.Context) error { return viaB(ctx, o, "Obj") })
			}), began)
			check(t, do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
				return o.st.BlockConcurrencyWhile(ctx, func(ctx context.Context) error { return viaB(ctx, o, "Obj") })
			}), began)
		})
	})
	t.Run("constructor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := &hooks{start: func(ctx context.Context, o *Obj) error {
				if name, _ := o.st.Name(); name != "a" {
					return nil
				}
				return viaB(ctx, o, "Obj")
			}}
			rt := open(t, h, nil)
			began := time.Now()
			err := do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil })
			check(t, err, began)
			wantErr(t, "constructor", err, durable.ErrConstructor)
		})
	})
	t.Run("exclusive class, itself", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := open(t, &hooks{opts: durable.ClassOptions{Exclusive: true}}, nil)
			began := time.Now()
			check(t, do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error { return viaB(ctx, o, "Obj") }), began)
		})
	})
}

// Two chains that wait for each other cannot be seen from either; the limit ends them.
func TestTwoChainsThatWaitForEachOtherEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{QueueAge: time.Hour}})
		began := time.Now()
		cross := func(from, to string) chan error {
			return async(func() error {
				return do(t.Context(), rt.obj(from), func(ctx context.Context, o *Obj) error {
					return o.st.BlockConcurrencyWhile(ctx, func(ctx context.Context) error {
						time.Sleep(time.Second) // so that both hold their gates
						return do(ctx, o.st.Namespace("Obj").Named(to), func(context.Context, *Obj) error { return nil })
					})
				})
			})
		}
		x, y := cross("a", "b"), cross("b", "a")
		errs := []error{<-x, <-y}
		if errs[0] == nil && errs[1] == nil {
			t.Error("both got through")
		}
		timeLimit := 0
		for _, err := range errs {
			if errors.Is(err, durable.ErrTimeLimit) {
				timeLimit++
			}
		}
		if timeLimit == 0 {
			t.Errorf("errors %v, want ErrTimeLimit", errs)
		}
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("it took %v, want 30s", d)
		}
		must(t, t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil })
		must(t, t.Context(), rt.obj("b"), func(context.Context, *Obj) error { return nil })
	})
}

func TestShutTimeResetsTheObject(t *testing.T) {
	slow := func(ctx context.Context) error { <-ctx.Done(); return nil }
	for name, fn := range map[string]work{
		"BlockConcurrencyWhile": func(ctx context.Context, o *Obj) error { return o.st.BlockConcurrencyWhile(ctx, slow) },
		"transaction": func(ctx context.Context, o *Obj) error {
			return o.st.Storage().Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				o.put(ctx, "lost", 1)
				return slow(ctx)
			})
		},
		"exclusive":   func(ctx context.Context, o *Obj) error { return slow(ctx) },
		"constructor": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hooks{opts: durable.ClassOptions{Exclusive: name == "exclusive"}}
				first := true
				if name == "constructor" {
					h.start = func(ctx context.Context, _ *Obj) error {
						if first {
							first = false
							return slow(ctx)
						}
						return nil
					}
					fn = func(context.Context, *Obj) error { return nil }
				}
				rt := open(t, h, nil)
				began := time.Now()
				err := do(t.Context(), rt.obj("a"), fn)
				wantErr(t, name, err, durable.ErrTimeLimit)
				wantErr(t, name, err, durable.ErrReset)
				if d := time.Since(began); d != 30*time.Second {
					t.Errorf("it took %v, want 30s", d)
				}
				must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
					if n := o.get(ctx, "lost"); n != 0 {
						t.Errorf("lost = %d, want 0", n)
					}
					return nil
				})
			})
		})
	}
}

// An error of the section resets the object, whether the handler passes it on or not.
func TestBlockConcurrencyWhileErrorResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		boom := errors.New("boom")
		var first, second *Obj
		err := do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			first = o
			o.put(ctx, "lost", 1)
			o.st.BlockConcurrencyWhile(ctx, func(context.Context) error { return boom })
			return nil
		})
		var e *durable.Error
		if !errors.As(err, &e) || !e.Reset || !strings.Contains(e.Text, "boom") {
			t.Errorf("error %#v, want boom with Reset", err)
		}
		err = do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			second = o
			defer func() { recover() }()
			o.st.BlockConcurrencyWhile(ctx, func(context.Context) error { panic("boom") })
			return nil
		})
		wantErr(t, "recovered panic", err, durable.ErrPanic)
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if o == first || o == second || first == second {
				t.Error("an instance was used again")
			}
			if n := o.get(ctx, "lost"); n != 0 {
				t.Errorf("lost = %d, want 0", n)
			}
			return nil
		})
	})
}

// While the gate is shut others wait; nesting is possible.
func TestBlockConcurrencyWhileNests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		ran := false
		other := make(chan error, 1)
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.BlockConcurrencyWhile(ctx, func(ctx context.Context) error {
				if err := o.st.BlockConcurrencyWhile(ctx, func(context.Context) error { return nil }); err != nil {
					return err
				}
				go func() {
					other <- do(t.Context(), a, func(context.Context, *Obj) error { ran = true; return nil })
				}()
				return o.st.Await(ctx, func(context.Context) error {
					time.Sleep(time.Second)
					if ran {
						t.Error("another event ran: the inner section's end opened the gate")
					}
					return nil
				})
			})
		})
		if err := <-other; err != nil || !ran {
			t.Errorf("other event: ran %v, error %v", ran, err)
		}
	})
}

// A handler may recover from a panic in Await: it must have the object for itself again.
func TestGateClosesAfterARecoveredPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		batches := recordBatches(rt.store)
		a := rt.obj("a")
		release := make(chan bool)
		other := make(chan error, 1)
		err := do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			func() {
				defer func() { recover() }()
				o.st.Await(ctx, func(context.Context) error {
					go func() {
						other <- do(t.Context(), a, func(ctx context.Context, o *Obj) error {
							o.put(ctx, "a", 1)
							<-release
							return o.put(ctx, "b", 1)
						})
					}()
					synctest.Wait()
					go func() { release <- true }()
					panic("outside")
				})
			}()
			return o.put(ctx, "c", 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-other; err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(keysOf(batches()), ","); got != "a b,c" {
			t.Errorf("batches %q, want the other event's turn whole: \"a b,c\"", got)
		}
	})
}
