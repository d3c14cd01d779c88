package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pgstore"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// said is an object that answers from memory.
type said struct{}

func (said) ServeHTTP(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from memory") }

// A process that holds databases alone answers nothing from one once its lease may have
// run out, by either of the clocks, and goes on when that has been renewed.
func TestAlone(t *testing.T) {
	server := pgtest.Shared(t)
	var boot, wall atomic.Int64
	clocks := func() Reading { return Reading{Boot: time.Duration(boot.Load()), Wall: time.Duration(wall.Load())} }
	// By itself it renews only long after the test.
	databases := []string{server.Database(t), server.Database(t)}
	s, a, err := openAlone(t.Context(), databases, &pgstore.Options{Shards: 16, Lease: time.Hour}, clocks)
	if err != nil {
		t.Fatal(err)
	}
	class := durable.NewClass("Said", func(context.Context, *durable.State) (said, error) { return said{}, nil }, nil)
	rt, err := durable.Open(s, &durable.Options{Classes: []durable.Class{class}, Placement: a})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()

	// Objects of both databases, about as many of each.
	ask := func() (answered, refused int) {
		for i := range 40 {
			w := httptest.NewRecorder()
			rt.Namespace("Said").Named(fmt.Sprint(i)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			switch {
			case w.Code == 200 && w.Body.String() == "from memory":
				answered++
			case w.Code == 503:
				refused++
			default:
				t.Errorf("GET = %d %s", w.Code, w.Body)
			}
		}
		return answered, refused
	}
	all := func(when string) {
		t.Helper()
		if answered, _ := ask(); answered != 40 {
			t.Errorf("%s: %d of 40 answered, want all", when, answered)
		}
	}
	none := func(when string) {
		t.Helper()
		if answered, _ := ask(); answered != 0 {
			t.Errorf("%s: %d of 40 answered, want none", when, answered)
		}
	}
	const minutes = int64(time.Minute)
	all("at the beginning")
	boot.Add(53 * minutes)
	wall.Add(53 * minutes)
	all("before the lease ends")
	begun := []func(){a.renewing(0), a.renewing(1)}
	wall.Add(minutes) // the boot clock missed it
	none("within the margin")
	for i, h := range a.holds {
		if err := h.Check(t.Context()); !errors.Is(err, durable.ErrNotOwner) {
			t.Errorf("Check of database %d = %v, want ErrNotOwner", i, err)
		}
	}
	begun[0]()
	if answered, refused := ask(); answered == 0 || refused == 0 {
		t.Errorf("with one lease of two: %d answered, %d refused, want some of each", answered, refused)
	}
	begun[1]()
	all("after renewals")
	wall.Add(-600 * minutes) // put back
	boot.Add(52 * minutes)
	all("53 minutes after those were sent")
	boot.Add(minutes)
	none("54 minutes after those were sent")
}
