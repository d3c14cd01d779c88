package memstore_test

import (
	"errors"
	"testing"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
	"github.com/perdure/perdure/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		s := memstore.New(nil)
		return &storetest.Harness{
			Store: s,
			Image: func(int, uint64) func(*testing.T) store.Store {
				image := s.Image()
				return func(*testing.T) store.Store { return image }
			},
			Fail: func(_ storetest.Fault, k int) {
				n := 0
				s.FailCommits(func(*store.Batch) error {
					if n++; n > k {
						return errors.New("injected")
					}
					return nil
				})
			},
			Refuse: func(o store.Object) {
				done := false
				s.FailCommits(func(b *store.Batch) error {
					if b.Object == o && !done {
						done = true
						return store.ErrRefused
					}
					return nil
				})
			},
		}
	})
}
