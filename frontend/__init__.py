"""What a user touches: tensors, functions, autograd, compile, nn, optim, data, saving."""
