package core

import (
	"context"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// stageAtOnce bounds the calls under way for groups that are staged together. Each
// only waits for the one change that the driver makes of them.
const stageAtOnce = 100

// turns cuts a list into what is sent at the same time: the groups that their
// driver stages together, in the place of the first of them, and each other group
// alone. The order stays.
func (s *stager) turns(list []stage) [][]stage {
	var turns [][]stage
	open := -1 // the turn that takes another group
	for _, x := range list {
		switch {
		case !s.together(x.groupID):
			turns = append(turns, []stage{x})
		case open >= 0 && len(turns[open]) < stageAtOnce:
			turns[open] = append(turns[open], x)
		default:
			open = len(turns)
			turns = append(turns, []stage{x})
		}
	}
	return turns
}

// together is the trait of a group; one that was not seen has none.
func (s *stager) together(groupID string) bool {
	i := slices.IndexFunc(s.r.inventory.Groups, func(g model.NodeGroup) bool { return g.ID == groupID })
	return i >= 0 && s.r.inventory.Groups[i].Traits.StageTogether
}

// sent is what became of the call for one stage of a turn.
type sent struct {
	i       int // of the turn
	release model.Release
	err     error
}

// sendAll sends a turn, and yields what becomes of each stage, as it comes. All
// have been yielded when it returns, unless yield answers false.
func (s *stager) sendAll(ctx context.Context, turn []stage, dry bool) func(yield func(sent) bool) {
	return func(yield func(sent) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // who does not want the rest tries no more
		answers := make(chan sent, len(turn))
		for i, x := range turn {
			go func() {
				release, err := s.send(ctx, x, dry)
				answers <- sent{i, release, err}
			}()
		}
		for range turn {
			if !yield(<-answers) {
				return
			}
		}
	}
}
