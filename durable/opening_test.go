package durable_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// TestOpeningsWaitForOtherEvents (promise 5): what leaves at an opening may come
// from an event that has run meanwhile and is not durable yet, or not even committed.
func TestOpeningsWaitForOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a, b := rt.obj("a"), rt.obj("b")
		news := make(chan string)
		var told atomic.Bool
		rec := httptest.NewRecorder()
		go a.ServeHTTP(rec, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			o.st.Await(r.Context(), func(ctx context.Context) error {
				io.WriteString(w, <-news)
				return http.NewResponseController(w).Flush()
			})
		}))
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.Await(ctx, func(ctx context.Context) error {
				<-news
				return do(ctx, o.st.Namespace("Obj").Named("b"), func(context.Context, *Obj) error {
					told.Store(true)
					return nil
				})
			})
		})
		synctest.Wait()
		nothing := func(when string) {
			t.Helper()
			synctest.Wait()
			if rec.Body.Len() > 0 || told.Load() {
				t.Errorf("%s: flushed %q, told another object: %v", when, rec.Body, told.Load())
			}
		}
		hold := rt.store.Hold()
		end := make(chan struct{})
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			o.put(ctx, "k", 1)
			news <- "news"
			news <- "news"
			<-end
			return nil
		})
		nothing("while the turn is not committed")
		close(end)
		nothing("while it is not durable")
		hold.Release()
		synctest.Wait()
		if rec.Body.String() != "news" || !told.Load() {
			t.Errorf("flushed %q, told another object: %v, after it is durable", rec.Body, told.Load())
		}
		must(t, t.Context(), b, func(context.Context, *Obj) error { return nil })
	})
}

// TestAnObjectMayStreamAnothersAnswer: its own gate is open meanwhile.
func TestAnObjectMayStreamAnothersAnswer(t *testing.T) {
	rt := open(t, nil, nil)
	w := serve(rt.obj("a"), request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
		if name, _ := o.st.Name(); name == "a" {
			o.st.Namespace("Obj").Named("b").ServeHTTP(w, r)
			return
		}
		for i := range 3 {
			fmt.Fprintln(w, i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("Flush: %v", err)
			}
		}
	}))
	if got := w.Body.String(); w.Code != 200 || got != "0\n1\n2\n" {
		t.Errorf("answer %d %q", w.Code, got)
	}
}

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

type askingError struct{ st *durable.State }

func (e askingError) Error() string { name, _ := e.st.Name(); return name }

// TestErrorsMethodsRunUnderNoLock: they may panic, and may ask the object.
func TestErrorsMethodsRunUnderNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		err := do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			var e *nilError
			return e
		})
		wantErr(t, "typed nil", err, durable.ErrPanic)
		err = do(t.Context(), a, func(ctx context.Context, o *Obj) error { return askingError{o.st} })
		if err == nil || err.Error() != "a" {
			t.Errorf("error that asks its State: %v", err)
		}
		err = do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.BlockConcurrencyWhile(ctx, func(context.Context) error {
				var e *nilError
				return e
			})
		})
		wantErr(t, "typed nil in a section", err, durable.ErrReset)
		must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
	})
}

func TestAlarmHandlersThatNeverReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		var bad, good atomic.Int32
		h := &hooks{alarm: func(_ context.Context, o *Obj, _ durable.AlarmInfo) error {
			if name, _ := o.st.Name(); name == "good" {
				good.Add(1)
				return nil
			}
			bad.Add(1)
			<-block
			return nil
		}}
		rt := open(t, h, &durable.Options{AlarmConcurrency: 1, Limits: durable.Limits{AlarmTime: time.Minute}})
		for _, name := range []string{"bad", "good"} {
			must(t, t.Context(), rt.obj(name), func(ctx context.Context, o *Obj) error {
				return o.st.Storage().SetAlarm(ctx, o.st.Now())
			})
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		if good.Load() != 1 || bad.Load() != 7 {
			t.Errorf("handler that returns ran %d times, one that never does %d times; want 1 and 7", good.Load(), bad.Load())
		}
		if !rt.log.has("alarm dropped") {
			t.Error("the dropped alarm was not logged")
		}
		close(block)
	})
}

// TestRefusedCallsDoNotKeepFromDraining: only what runs does.
func TestRefusedCallsDoNotKeepFromDraining(t *testing.T) {
	rt := open(t, nil, nil)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for i := range 8 {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					do(context.Background(), rt.obj(fmt.Sprint(i)), func(context.Context, *Obj) error { return nil })
				}
			}
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := rt.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown under calls that are refused: %v", err)
	}
}

func TestUniqueKeysAreUnique(t *testing.T) {
	plain := func(name, key string) durable.Class {
		return durable.NewClass(name, func(_ context.Context, st *durable.State) (*Obj, error) { return &Obj{st: st, hooks: &hooks{}}, nil },
			&durable.ClassOptions{UniqueKey: key})
	}
	if _, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{plain("A", "k"), plain("B", "k")}}); err == nil || !strings.Contains(err.Error(), "unique key") {
		t.Errorf("Open with one unique key for two classes: %v", err)
	}
	s := memstore.New(nil)
	for _, m := range []durable.Migration{
		{Create: []durable.ClassKey{{Name: "A"}}},
		{Rename: map[string]string{"A": "B"}, Create: []durable.ClassKey{{Name: "A"}}},
	} {
		if err := durable.Migrate(s, m); err != nil {
			t.Fatal(err)
		}
	}
	rt, err := durable.Open(s, &durable.Options{Classes: []durable.Class{plain("A", ""), plain("B", "")}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if _, err := rt.Namespace("B").ParseID(rt.Namespace("A").NewID().String()); !errors.Is(err, durable.ErrInvalidID) {
		t.Errorf("id of the new A in B, which was A: %v, want ErrInvalidID", err)
	}
}

// TestStalledBodyIsGivenUp: it holds some of the budget for bodies.
func TestStalledBodyIsGivenUp(t *testing.T) {
	for _, head := range []string{"Content-Length: 100\r\n\r\nbegun", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"} {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{BodyStall: 50 * time.Millisecond}})
		srv := httptest.NewServer(rt.obj("a"))
		defer srv.Close()
		if code := unfinished(t, srv, head); code != http.StatusBadRequest {
			t.Errorf("%q: status %d, want 400", head, code)
		}
	}
}

// A body that has not arrived when the runtime begins to drain is not waited for.
func TestBodyThatIsLateForShutdown(t *testing.T) {
	rt := open(t, nil, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go rt.Shutdown(t.Context())
		rt.obj("a").ServeHTTP(w, r)
	}))
	defer srv.Close()
	if code := unfinished(t, srv, "Content-Length: 100\r\n\r\nbegun"); code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", code)
	}
}

// TestStalledReaderIsGivenUp: what a client does not take holds some of the budget for
// answers, and a stream's event.
func TestStalledReaderIsGivenUp(t *testing.T) {
	for name, flush := range map[string]bool{"whole": false, "stream": true} {
		t.Run(name, func(t *testing.T) {
			rt := open(t, nil, &durable.Options{Limits: durable.Limits{AnswerStall: 50 * time.Millisecond}})
			work := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
				piece := make([]byte, 1<<20)
				for range 31 { // more than the buffers between us
					if _, err := w.Write(piece); err != nil {
						return
					}
					if flush && w.(interface{ FlushError() error }).FlushError() != nil {
						return
					}
				}
			}).Header.Get("Work")
			over := make(chan bool, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { over <- true }()
				rt.obj("a").ServeHTTP(w, r)
			}))
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: do\r\nWork: %s\r\n\r\n", work)
			select {
			case <-over:
			case <-time.After(time.Minute):
				t.Error("the server waits for a client that takes nothing")
			}
		})
	}
}

// unfinished sends the head of a request whose body never comes to its end, and
// returns the status of the answer, after which the server must close the connection.
func unfinished(t *testing.T, srv *httptest.Server, head string) int {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: do\r\n"+head); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after the answer: %v, want the end of the connection", err)
	}
	return resp.StatusCode
}
