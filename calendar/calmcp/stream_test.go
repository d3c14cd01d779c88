package calmcp

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a client that does not read before it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	wait chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.wait
	return s.ResponseRecorder.Write(p)
}

// Whoever writes to a stream does not wait for its client.
func TestQueueTakesEverything(t *testing.T) {
	w := &stuck{httptest.NewRecorder(), make(chan struct{})}
	q := newQueue(w, func() { t.Error("it was cut off") })
	q.first = []byte("first ")
	q.WriteHeader(200)
	want := "first "
	for i := range 100 {
		piece := strings.Repeat(string(rune('a'+i%26)), i)
		want += piece
		q.Write([]byte(piece))
		q.FlushError()
	}
	close(w.wait)
	q.close()
	if got := w.Body.String(); got != want {
		t.Errorf("the client got %d bytes, want %d in order", len(got), len(want))
	}
	if _, err := q.Write([]byte("late")); err == nil {
		t.Error("a write after close succeeds")
	}
}

func TestQueueCutsOffSlowClient(t *testing.T) {
	w := &stuck{httptest.NewRecorder(), make(chan struct{})}
	cut := 0
	q := newQueue(w, func() { cut++ })
	var err error
	for n := 0; err == nil; n++ {
		if n > maxQueued/1000+1 {
			t.Fatal("everything is taken")
		}
		_, err = q.Write(bytes.Repeat([]byte("x"), 1000))
		q.FlushError()
	}
	if cut != 1 {
		t.Errorf("it was cut off %d times", cut)
	}
	close(w.wait)
	q.close()
}

func TestKeepAliveTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		s := newStream(rec, 30*time.Second, func() { t.Error("it was cut off") })
		s.Header().Set("Content-Type", "text/event-stream")
		s.WriteHeader(200)
		count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return strings.Count(rec.Body.String(), keepAlive) }
		time.Sleep(29 * time.Second)
		s.Write([]byte("data: x\n\n"))
		time.Sleep(29 * time.Second)
		if n := count(); n != 0 {
			t.Errorf("%d comments beside events", n)
		}
		time.Sleep(2 * time.Second)
		if n := count(); n != 1 {
			t.Errorf("%d comments after 31 s without event, want 1", n)
		}
		time.Sleep(5 * time.Minute)
		if n := count(); n != 11 {
			t.Errorf("%d comments after 5 minutes more, want 11", n)
		}
		s.close()
		time.Sleep(time.Hour)
		if n := count(); n != 11 {
			t.Errorf("%d comments, of which some after the end", n)
		}

		plain := newStream(httptest.NewRecorder(), time.Second, nil)
		plain.Header().Set("Content-Type", "application/json")
		plain.WriteHeader(200)
		time.Sleep(time.Minute)
		plain.close()
		if got := plain.ResponseWriter.(*httptest.ResponseRecorder); got.Body.Len() > 0 || got.Header().Get("X-Accel-Buffering") != "" {
			t.Errorf("a plain answer got %q", got.Body)
		}
	})
}

func TestIsAnswer(t *testing.T) {
	for data, want := range map[string]bool{
		`{"jsonrpc":"2.0","id":1,"result":{"method":"x"}}`:             true,
		`{"jsonrpc":"2.0","id":{"a":[1]},"error":{}}`:                  true,
		`{"id":"method","result":{}}`:                                  true,
		`{"jsonrpc":"2.0","id":1,"method":"x","params":{"result":{}}}`: false,
		`{"jsonrpc":"2.0","method":"x"}`:                               false,
		``:                                                             false, `[]`: false, `{"a`: false, `{"result"`: true,
	} {
		if got := isAnswer([]byte(data)); got != want {
			t.Errorf("isAnswer(%s) = %v", data, got)
		}
	}
}

func FuzzUnpackEvents(f *testing.F) {
	f.Add(packEvents(0, [][]byte{nil, []byte("a")}))
	f.Add(packEvents(1<<40, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, events, err := unpackEvents(data)
		if err != nil {
			return
		}
		again, same, err := unpackEvents(packEvents(first, events))
		if err != nil || again != first || len(same) != len(events) {
			t.Fatalf("%d events from %d come back as %d from %d, %v", len(events), first, len(same), again, err)
		}
		for i := range events {
			if !bytes.Equal(events[i], same[i]) {
				t.Fatalf("event %d changed", i)
			}
		}
	})
}
