"""The dual encoder: one transformer for queries and passages, pooled to a unit vector.

Shape suffixes: B texts, T tokens, W dimensions of the transformer, D dimensions of the embedding (W where
there is no projection).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xling.config.presets import Pooling
from xling.model.projection import Projection

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class DualEncoder(nn.Module):
    """A transformer, pooling over its last hidden states, a projection where given, and L2 normalisation.

    Queries and passages go through the same weights (Reimers and Gurevych 2019, section 3).
    The transformer's own pooler is removed: it is never used, and a parameter without a
    gradient is what distributed training refuses.
    """

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, projection: Projection | None = None) -> None:
        """Args: backbone: an encoder that returns ``last_hidden_state``; pooling: mean over the
        tokens that are not padding, or the first token (texts are padded on the right);
        projection: of the pooled vectors, with as many inputs as the transformer is wide.
        """
        super().__init__()
        assert pooling in ("mean", "cls"), pooling
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        self.backbone = backbone
        self.pooling = pooling
        self.projection = projection
        assert projection is None or projection.config.in_features == self.width, projection

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Embeddings ``[B, D]`` of length 1, float32 (float64 for a float64 model).

        Pooling, projection and normalisation are in float32 even where autocast runs the transformer in bf16.

        Args:
            ids_BT: token ids with special tokens, padded on the right.
            mask_BT: 1 (or True) for tokens, 0 for padding.
        """
        hidden_BTW: Tensor = self.backbone(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        hidden_BTW = hidden_BTW.to(torch.promote_types(hidden_BTW.dtype, torch.float32))
        if self.pooling == "cls":
            pooled_BW = hidden_BTW[:, 0]
        else:
            mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTW.dtype)
            pooled_BW = (hidden_BTW * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1)
        embeddings_BD = pooled_BW if self.projection is None else self.projection(pooled_BW).to(hidden_BTW.dtype)
        return nn.functional.normalize(embeddings_BD, dim=-1)

    @property
    def width(self) -> int:
        """Length of a token's vector, and of a pooled one before the projection."""
        return int(self.backbone.config.hidden_size)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.width if self.projection is None else self.projection.config.out_features

    @property
    def parameters_total(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def parameters_non_embedding(self) -> int:
        """Parameters outside embedding tables: those that a token's compute is proportional to."""
        tables = sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Embedding))
        return self.parameters_total - tables

    @property
    def max_tokens(self) -> int | None:
        """Longest text the transformer has positions for; None where positions are not limited."""
        table = getattr(getattr(self.backbone, "embeddings", None), "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            # RoBERTa's kind counts positions from behind the padding id, so the first rows are lost.
            reserved = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - reserved
        limit = getattr(self.backbone.config, "max_position_embeddings", None)
        return int(limit) if limit is not None and limit > 0 else None
