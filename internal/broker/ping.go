package broker

import "context"

// Ping returns an error unless the broker answers, and lets us in. It makes a connection of its own.
func Ping(ctx context.Context, brokerURL string) error {
	conn, err := connect(ctx, brokerURL, "trade readiness check")
	if err != nil {
		return err
	}
	conn.close()
	return nil
}
