package esclient

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// turning is a subscription that the server refuses between two looks at it.
type turning struct {
	unconfirmed
	looks int
}

func (s *turning) outcome() (settled bool, err error) {
	if s.looks++; s.looks == 1 {
		return false, nil
	}
	return true, errors.New("refused")
}

func TestARefusalBetweenTwoLooksIsNoConfirmation(t *testing.T) {
	o := openings[*turning]{asked: []*turning{{}}}
	_, ok := o.confirmed()
	assert.False(t, ok)
}
