"""A run's tokenizer as one of `transformers`: the same ids, and every text back as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aeattn.data.subwords import SubwordTokenizer, library
from aeattn.data.subwords_check import ALPHABET
from aeattn.data.tokenizer import CharTokenizer, Tokenizer
from aeattn.data.tokenizer_bytes import ByteTokenizer
from aeattn.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PADDING = "<|pad|>"  # its id is the first after the vocabulary: no row of the embedding
DOCUMENT = "<|document|>"  # where a text begins or ends: the second, read as a line's end


def to_hf_tokenizer(tokenizer: Tokenizer, context: int) -> PreTrainedTokenizerFast:
    """The tokenizer, with tokens for padding, which goes left, and for where a text begins or ends. Raises
    InputError for a kind of one's own, and for a vocabulary that has these tokens already."""
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=_library_tokenizer(tokenizer), pad_token=PADDING, padding_side="left",
        model_max_length=context, clean_up_tokenization_spaces=False, split_special_tokens=True,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    made.add_special_tokens({"bos_token": DOCUMENT, "eos_token": DOCUMENT})
    for place, token in enumerate((PADDING, DOCUMENT)):
        if (found := made.convert_tokens_to_ids(token)) != tokenizer.vocab_size + place:
            raise InputError(f"the tokenizer has a token {token} of its own, {found}: it cannot be exported")
    return made


def _library_tokenizer(tokenizer: Tokenizer) -> Any:
    """The same as the library `tokenizers` has it."""
    if isinstance(tokenizer, CharTokenizer):
        return _characters(tokenizer)
    if isinstance(tokenizer, ByteTokenizer):
        return _bytes()
    if isinstance(tokenizer, SubwordTokenizer):
        return library().Tokenizer.from_str(json.dumps(tokenizer.to_dict()))
    raise InputError(
        f"the tokenizer of the run, {type(tokenizer).__name__}, comes from a plug-in: only aeattn's own kinds can "
        "be exported"
    )


def _characters(tokenizer: CharTokenizer) -> Any:
    """One token a character; what is unknown is read as the substitute."""
    lib = library()
    vocabulary = {character: i for i, character in enumerate(tokenizer.characters)}
    made = lib.Tokenizer(lib.models.WordLevel(vocabulary, unk_token=tokenizer.substitute))
    made.pre_tokenizer = lib.pre_tokenizers.Split(lib.Regex(r"[\s\S]"), "isolated")
    made.decoder = lib.decoders.Fuse()
    return made


def _bytes() -> Any:
    """One token a byte of UTF-8."""
    lib = library()
    made = lib.Tokenizer(lib.models.BPE(dict(ALPHABET), []))
    made.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = lib.decoders.ByteLevel()
    return made
