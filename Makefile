.PHONY: demo

# Shows the service over real gRPC; SERVE=1 keeps it serving.
demo:
	@cargo build --example demo
	@cargo run --quiet --example demo
