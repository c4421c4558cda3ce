"""Operations that make views of images, batched on the device, every image by its own parameters.

`geometry`, `colour`, `occlusion`: operations; `randaugment`: 14 of them by name and magnitude; `parameters`: what is
drawn for the views of an epoch; `make`: one view of a batch; `mix`: mixup and CutMix inside a batch, same-class mixup.
"""
