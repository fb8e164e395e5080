"""From files that others wrote to specs: a weights file's header, a model that Keras reads."""
