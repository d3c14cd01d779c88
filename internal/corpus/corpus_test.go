package corpus_test

import (
	"net/http"
	"testing"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/internal/corpus"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

var classNames = map[string]string{"session": sessions.ClassName, "cache": calcache.ClassName}

// disk is a store in memory whose data is still there when it was closed.
type disk struct{ *memstore.Store }

func (disk) Close() error { return nil }

func open(t *testing.T, s store.Store) *durable.Runtime {
	t.Helper()
	rt, err := durable.Open(s, &durable.Options{Classes: []durable.Class{sessions.Class(), calcache.Class()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

func TestCorpus(t *testing.T) {
	rows, err := corpus.Rows()
	if err != nil {
		t.Fatal(err)
	}
	d := disk{memstore.New(nil)}
	rt := open(t, d)
	crash := func() error {
		d = disk{d.Crash()}
		rt = open(t, d)
		return nil
	}
	corpus.Run(t, rows, corpus.Target{
		Send: corpus.Objects(func(class, name string) http.Handler {
			return rt.Namespace(classNames[class]).Named(name)
		}),
		Restart: func() error {
			if err := rt.Shutdown(t.Context()); err != nil {
				return err
			}
			return crash()
		},
		Kill: crash,
	})
}
