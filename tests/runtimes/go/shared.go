package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// lookup is one call in flight that all requests share which come while it lasts.
type lookup struct {
	next   *next
	mutex  sync.Mutex
	count  int
	flight *flight
}

// flight is over when its channel is closed.
type flight struct {
	over chan struct{}
	err  error
}

// await begins a lookup if there is none, and waits until it is over.
func (l *lookup) await() error {
	l.mutex.Lock()
	if shared := l.flight; shared != nil {
		l.mutex.Unlock()
		<-shared.over
		return shared.err
	}
	own := &flight{over: make(chan struct{})}
	l.flight = own
	l.count++
	id := fmt.Sprintf("shared-%d", l.count)
	l.mutex.Unlock()
	own.err = l.next.leaf(id, 0)
	l.mutex.Lock()
	l.flight = nil
	l.mutex.Unlock()
	close(own.over)
	return own.err
}

func (l *lookup) then(id string) error {
	if err := l.await(); err != nil {
		return err
	}
	return l.next.leaf(id, 0)
}

func (l *lookup) late(_ http.ResponseWriter, id string) error {
	if err := l.then(id); err != nil {
		return err
	}
	time.Sleep(5 * time.Millisecond)
	return nil
}
