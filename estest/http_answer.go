package estest

import (
	"bytes"
	"net/http"
)

// answer is an answer that is kept until it is sent.
type answer struct {
	http.ResponseWriter // it has the headers
	status              int
	body                bytes.Buffer
}

// lockToServe locks core.mu while the server does not hang. It returns false, and has locked nothing, if the connection
// or the process that accepted it has ended: the next process must not serve what the last one left.
func (s *Server) lockToServe(r *http.Request) (locked bool) {
	if !s.lockAwake(r.Context().Done()) {
		return false
	}
	halt, _ := r.Context().Value(processKey{}).(chan struct{})
	select {
	case <-halt:
		s.core.mu.Unlock()
		return false
	default:
		return true
	}
}

// answerLocked takes the lock and returns a writer that buffers the answer. Call done to release the lock and then send
// the answer: the client may read slowly.
func (s *Server) answerLocked(w http.ResponseWriter) (kept http.ResponseWriter, done func()) {
	a := &answer{ResponseWriter: w, status: http.StatusOK}
	if !s.lockAwake(nil) {
		s.core.mu.Lock() // the connection is closed, so nobody gets the answer
	}
	return a, func() {
		s.core.mu.Unlock()
		limitAnswer(w) // starts again: the client had nothing to receive so far
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // the client may be gone
	}
}

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
